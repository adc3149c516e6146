//! The suite that all front ends share, with guests of both versions of WASI.

mod wasi_02 {
    use crate::support::Daemon;

    test_suite::http_suite!(Daemon);
}

mod wasi_03 {
    use test_suite::Wasi03;

    use crate::support::Daemon;

    test_suite::http_suite!(Wasi03(Daemon));
}
