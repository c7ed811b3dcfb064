//go:build !unix

package remote

import "os"

func terminalWidth(*os.File) int { return 0 }

func terminalHeight(*os.File) int { return 0 }
