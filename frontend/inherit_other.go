//go:build !unix

package frontend

import "errors"

func duplicate(uintptr) (uintptr, error) { return 0, errors.ErrUnsupported }
