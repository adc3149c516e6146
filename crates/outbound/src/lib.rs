//! Sends requests over a pool of connections, to where a policy allows.
