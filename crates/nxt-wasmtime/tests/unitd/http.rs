//! The suite that all front ends share, with guests of both versions of WASI.

mod wasi_02 {
    use crate::support::Unitd;

    test_suite::http_suite!(Unitd);
}

mod wasi_03 {
    use test_suite::Wasi03;

    use crate::support::Unitd;

    test_suite::http_suite!(Wasi03(Unitd));
}
