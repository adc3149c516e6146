//! Computes without end; with `?after` in the middle of its response.

use guests_03::Answer;
use guests_03::wasip3::http::types::Request;

async fn handle(request: Request) -> Answer {
    if !guests_03::query(&request)
        .iter()
        .any(|word| word == "after")
    {
        spin();
    }
    let (response, mut body) = guests_03::begin(200, &[]);
    guests_03::wasip3::spawn_local(async move {
        body.write(b"partial").await;
        spin();
    });
    Ok(response)
}

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}

guests_03::guest!(handle);
