//! What is measured.

mod applications;
mod bodies;
mod connections;
mod fairness;
mod requests;
mod routed;
mod servers;
mod spinning;
mod start;

use anyhow::Result;

use self::servers::Findings;
use super::built::{Built, Options};

/// The workloads that measure another build of the daemon, too, if there is one.
pub(super) const BESIDE: [&str; 7] = [
    "hello",
    "hello-0.3",
    "echo",
    "python",
    "outbound",
    "return",
    "static",
];

type Run = fn(&Built, Options) -> Result<Findings>;

/// All workloads, each with its line of help.
pub(super) const ALL: [(&str, &str, Run); 16] = [
    (
        "hello",
        "an answer of 14 bytes; against hyper alone and others",
        requests::hello,
    ),
    ("hello-0.3", "the same for WASI 0.3", requests::hello_03),
    ("cores", "the same on one core and on two", requests::cores),
    (
        "echo",
        "1 KiB of JSON, posted and sent back",
        requests::echo,
    ),
    (
        "return",
        "a `return` of 200; against hyper alone and unitd",
        routed::answer,
    ),
    ("static", "a file of 1 KiB; against unitd", routed::file),
    (
        "routes",
        "the last of 1,000 steps, and one step",
        routed::steps,
    ),
    (
        "python",
        "an answer of a component of 18 MB, made with componentize-py",
        requests::python,
    ),
    (
        "latency",
        "latency at half of the requests that `wasmtime serve` can answer",
        requests::latency,
    ),
    (
        "outbound",
        "one outgoing request per request, to a server on the same machine",
        requests::outbound,
    ),
    ("bodies", "64 MiB up and 64 MiB down", bodies::run),
    (
        "start",
        "the first answer after a start, without compiling",
        start::run,
    ),
    (
        "applications",
        "memory and start of 1,000 applications of one component",
        applications::run,
    ),
    (
        "idle",
        "memory of 10,000 connections without requests",
        connections::run,
    ),
    (
        "spinning",
        "other requests beside guests in endless loops",
        spinning::run,
    ),
    (
        "fairness",
        "requests of one application while another one takes all that it can get",
        fairness::run,
    ),
];
