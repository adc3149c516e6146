//! What a client gets when things go wrong, row by row.

use crate::{FrontEnd, Running};

pub fn a_trap_before_the_response_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["trap"]);
    server.connect("trap").get("/").assert_page(500);
}

pub fn no_response_is_a_500(front: &impl FrontEnd) {
    let server = Running::guests(front, &["no_response"]);
    server.connect("no_response").get("/").assert_page(500);
}
