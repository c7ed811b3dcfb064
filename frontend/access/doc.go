// Package access says who may connect and to which class a client belongs, by the longest matching
// prefix of its address.
//
// A [List] and a [Classes] never change once they are built, so any number of goroutines may ask them
// and a reload puts a new one in their place. They do no I/O, write no log and read no clock. What
// happens to a client that is refused is the caller's business.
//
// Start with list.go.
package access
