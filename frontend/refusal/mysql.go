package refusal

// mysqlTooMany is ER_CON_COUNT_ERROR.
const mysqlTooMany = 1040

// mysqlError returns the ERR packet that stands in place of the greeting (MySQL Source Code
// Documentation, "Connection Phase" and "ERR_Packet"): three bytes of length, the packet's number, 0 as it
// is the first, then 0xff, two bytes of error number, and the text up to the end. Numbers are
// little-endian.
//
// It carries no SQLSTATE, though 08004 is the one of this error. The marker "#" and the state belong to
// the packet only once both sides have said that they speak protocol 4.1, and here nobody has said
// anything. MySQL 8 (net_send_error in sql/protocol_classic.cc) and MariaDB (net_send_error_packet in
// sql/protocol.cc) leave it out; with it, MySQL's client library, which looks for it only after a greeting
// (cli_safe_read in sql-common/client.cc), would show "#08004Too many connections". MariaDB's looks for
// "#" at any time, and both show HY000 when there is none.
//
// MariaDB 10.4 for a time numbered the packet 1, and clients that check the numbers complained instead of
// showing the error (mysqljs issue 2355).
//
// MariaDB's newer client library, when it is to use TLS, trusts nothing that came before it (CONC-648). It
// reports error 2002, "Received error packet before completion of TLS handshake", and quotes ours in its
// text, "1040 - Too many connections". A server that has no room fares no better.
func mysqlError(text string) []byte {
	payload := append([]byte{0xff, mysqlTooMany & 0xff, mysqlTooMany >> 8}, text...)
	n := len(payload)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0}, payload...)
}
