//! How bodies end, for the guest that reads them and for the log.

use bytes::Bytes;
use engine::{Application, Component, CutOff, Failure, RequestBodyError, RequestId, Settings};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use test_components::World;

use super::{engine, get, run};

fn application(world: World, guest: &str) -> Application {
    let engine = engine(4);
    let component = Component::load(&engine, &world.guest(guest)).unwrap();
    Application::new(engine, component, Settings::new(guest))
}

#[test]
fn a_guest_gets_the_error_code_of_a_request_body_that_fails() {
    run(async {
        for world in [World::Wasi02, World::Wasi03] {
            let application = application(world, "body_error");
            for (error, code) in [
                (RequestBodyError::Disconnected, "ConnectionTerminated"),
                (RequestBodyError::Timeout, "ConnectionReadTimeout"),
                (RequestBodyError::Malformed, "HttpProtocolError"),
                (RequestBodyError::TooLarge, "HttpRequestBodySize(None)"),
            ] {
                let piece = Ok(Frame::data(Bytes::from_static(b"some")));
                let pieces = futures_util::stream::iter([piece, Err(error)]);
                let request = Request::post("http://localhost/")
                    .body(StreamBody::new(pieces))
                    .unwrap();
                let response = application.handle(RequestId::next(), request).await;
                let body = response.unwrap().into_body().collect().await.unwrap();
                let expected = format!("ErrorCode::{code}\n");
                assert_eq!(body.to_bytes(), expected, "{world:?}");
            }
        }
    });
}

#[test]
fn a_body_longer_than_its_content_length_is_cut_off_as_too_long() {
    run(async {
        for world in [World::Wasi02, World::Wasi03] {
            let application = application(world, "long_length");
            let late = get(&application, "/?50").await.unwrap();
            let error = late.into_body().collect().await.err();
            assert_eq!(error, Some(CutOff::TooLong), "{world:?}");
            match get(&application, "/").await {
                Err(Failure::Broken(cut_off)) => assert_eq!(cut_off, CutOff::TooLong, "{world:?}"),
                Err(other) => panic!("{other}"),
                // The guest's slice of time ended just there.
                Ok(early) => {
                    let error = early.into_body().collect().await.err();
                    assert_eq!(error, Some(CutOff::TooLong), "{world:?}");
                }
            }
        }
    });
}
