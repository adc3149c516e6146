//! The daemon as a black box: what all front ends share, and what only it does.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod access_log;
mod as_unitd;
mod broken_state;
mod cache;
mod certificates;
mod components;
mod config_files;
mod control;
mod control_log;
mod fairness;
mod flags;
mod folder_swaps;
mod folders;
mod forwarded;
mod heads;
mod health;
mod held;
mod http;
mod http1_strictness;
mod idle_connections;
mod log;
mod metrics;
mod options;
mod output;
mod path_traversal;
mod peer;
mod proxy;
mod reconfiguration;
mod reload;
mod returns;
mod routes;
mod service_manager;
mod settings;
mod signals;
mod socket_activation;
mod static_files;
mod status;
mod stopping;
mod support;
mod tls;
mod unix_sockets;
mod unread_bodies;
mod uploads;
mod variables;
