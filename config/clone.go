package config

import (
	"errors"
	"fmt"
)

// Clone returns a deep copy that was checked as a file of that name would be: what was changed since it was
// read may be wrong. Files that it names are read again.
func (c *Config) Clone(file string) (*Config, error) {
	text, err := c.TOML()
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// NewBackend returns what a file says of a backend of which it says no more than where it is.
func NewBackend(forwardTo string) (Backend, error) {
	c, err := Parse("", fmt.Appendf(nil, "frontend = [{ bind_on = \"127.0.0.1:0\", backend = [{ forward_to = %q }] }]\n", forwardTo))
	var m Mistakes
	if errors.As(err, &m) && len(m) > 0 {
		text := m[0].Message
		if m[0].Hint != "" {
			text += "; " + m[0].Hint
		}
		return Backend{}, errors.New(text)
	}
	if err != nil {
		return Backend{}, err
	}
	return c.Frontends[0].Backends[0], nil
}
