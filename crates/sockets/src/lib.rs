//! TCP and Unix sockets under one type, and the files of Unix sockets. What is spoken over them, and TLS, are the
//! callers'.
//!
//! ```text
//! bind_path(path, mode, backlog) ─▶ a listening socket, non-blocking
//!                                 └▶ SocketFile ─ remove, drop ─▶ the file is removed, if it is still ours
//! Listener ─ accept ─▶ Stream
//! Stream::connect_tcp, connect_unix ─▶ Stream
//! ```

mod listener;
mod socket_file;
mod stream;

pub use listener::Listener;
pub use socket_file::{BindError, SocketFile, bind_path};
pub use stream::Stream;
