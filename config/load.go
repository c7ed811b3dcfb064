package config

import (
	"errors"

	"github.com/pelletier/go-toml/v2"
)

// maxFile is where a file is refused: far above a file with 50,000 backends, and far below what
// would hurt when somebody points weir at a disk image.
const maxFile = 16 << 20

// leastFile is a whole configuration in one line of TOML, for hints.
const leastFile = `frontend = { bind_on = ":7070", backend = { forward_to = "127.0.0.1:8080" } }`

// Load reads and checks a file, with the lists of prefixes and the keys of TLS that it names. What is wrong with its content or
// with theirs comes as [Mistakes], all at once; a file that cannot be read as another error that names it.
func Load(path string) (*Config, error) {
	r, err := Read(path)
	if err != nil {
		return nil, err
	}
	return r.Config, nil
}

// Parse checks the content of a file. The error is [Mistakes], naming the file as given here. The files
// it names are looked for beside the file of that name.
func Parse(file string, data []byte) (*Config, error) {
	r, err := ReadText(file, data)
	if err != nil {
		return nil, err
	}
	return r.Config, nil
}

// parse returns what a file says, and how it says it. All are to be used only when r has found nothing wrong.
func parse(r *report) (c *Config, root *node, index index) {
	root = buildTree(r)
	if root == nil {
		return nil, nil, index
	}
	if len(root.names) == 0 {
		r.add(0, "", &fault{"the file is empty", "the least file is: " + leastFile})
		return nil, nil, index
	}
	c = new(Config)
	index = decode(r, root, c)
	c.complete(index)
	validate(r, index, c)
	if len(r.found) == 0 {
		unmarshalNet(r)
	}
	readLists(r, index, c)
	readOperations(r, index, c)
	return c, root, index
}

// unmarshalNet lets go-toml's own decoder read the file as well: what that calls invalid (dates that
// do not exist, some way to define a key twice that treeBuilder does not know) is never accepted.
func unmarshalNet(r *report) {
	err := toml.Unmarshal(r.data, new(map[string]any))
	if err == nil {
		return
	}
	f := &fault{"not TOML: " + clean(err.Error()), ""}
	var derr *toml.DecodeError
	if !errors.As(err, &derr) {
		r.add(0, "", f)
		return
	}
	line, column := derr.Position() // the column counts bytes
	r.add(r.lines[line-1]+column-1, "", f)
}
