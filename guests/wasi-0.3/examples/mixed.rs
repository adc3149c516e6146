//! Imports interfaces of WASI 0.2 and of 0.3, and uses both.

use guests_03::Answer;
use guests_03::wasip3::clocks::system_clock;
use guests_03::wasip3::http::types::Request;
use guests_03::wasip3::random::random::get_random_u64;

async fn handle(_: Request) -> Answer {
    // Two of 64 random bits are different, and both clocks tell the same time.
    let random = get_random_u64() != wasip2::random::random::get_random_u64();
    let older = wasip2::clocks::wall_clock::now().seconds;
    let newer = u64::try_from(system_clock::now().seconds).unwrap();
    let clocks = newer >= older && newer - older < 10;
    guests_03::answer(format!("random: {random}, clocks: {clocks}\n"))
}

guests_03::guest!(handle);
