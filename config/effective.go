package config

import (
	"bytes"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// TOML gives the effective configuration: every key with its value, defaults and names included.
// [Parse] makes an equal Config of it.
func (c *Config) TOML() ([]byte, error) {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(c); err != nil {
		return nil, fmt.Errorf("write config: %w", err)
	}
	return b.Bytes(), nil
}
