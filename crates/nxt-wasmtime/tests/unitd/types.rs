//! Unit's two types for components.

use test_suite::{Running, configuration};

use crate::support::{Unitd, application, assert_no_alert};

#[test]
fn both_types_are_served_by_one_unitd_side_by_side() {
    let Some(unitd) = Unitd::here() else { return };
    let hello = test_components::guest("hello");
    let wasm = format!(
        r#"{{"type": "wasm", "module": "{}", "request_handler": "unused",
             "malloc_handler": "unused", "free_handler": "unused"}}"#,
        hello.display()
    );
    let server = Running::start(
        &unitd,
        &configuration::applications_of(&[
            ("wasm", wasm),
            ("component", configuration::application(&hello, "")),
        ]),
    );
    for _ in 0..3 {
        for name in ["wasm", "component"] {
            let mut client = server.connect(name);
            client.get("/").assert_text("Hello, world!\n");
            assert_eq!(application(&server, name).len(), 1);
        }
    }
    assert_no_alert(&server);
}
