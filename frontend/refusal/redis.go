package refusal

// redisError returns an error reply (RESP, "Simple errors"). Redis writes it to a client above maxclients
// before it has read anything (acceptCommonHandler in src/networking.c), and clients take it for the reply
// to their first command.
func redisError(text string) []byte { return []byte("-ERR " + text + "\r\n") }
