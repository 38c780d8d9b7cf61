// Command cerebrum is a peer-to-peer node for sharing sensitive data and AI
// models without trusting any one party.
package main

func main() {}
