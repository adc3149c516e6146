//! Imports interfaces of WASI 0.2 and of 0.3, and uses both.

use guests::wasip2::clocks::wall_clock;
use guests::wasip2::http::types::{IncomingRequest, ResponseOutparam};
use guests::wasip2::random::random::get_random_u64;

fn handle(_: IncomingRequest, out: ResponseOutparam) {
    // Two of 64 random bits are different, and both clocks tell the same time.
    let random = get_random_u64() != wasip3::random::random::get_random_u64();
    let older = wall_clock::now().seconds;
    let newer = u64::try_from(wasip3::clocks::system_clock::now().seconds).unwrap();
    let clocks = newer >= older && newer - older < 10;
    guests::answer(out, format!("random: {random}, clocks: {clocks}\n"));
}

guests::guest!(handle);
