//! The list of the cases, as a macro that makes a test of each, and checks that the list is complete.

/// Makes a test of each case, for the front end that the expression makes.
///
/// This is the one list of all cases. In brackets stands what a case needs, where not every front
/// end does that: see [`Need`](crate::Need).
#[macro_export]
macro_rules! http_suite {
    ($front:expr) => {
        $crate::http_suite! { @area $front, walkthrough:
            the_output_is_the_readmes_byte_for_byte [Wasi02],
            curl_sees_the_readmes_output [Wasi02],
            the_example_copes_with_any_bytes [Wasi02],
            a_component_of_the_oldest_point_release_is_served [Wasi02],
            a_component_may_mix_the_versions_of_wasi,
        }
        $crate::http_suite! { @area $front, failures:
            a_trap_before_the_response_is_a_500,
            a_return_without_a_response_is_a_500 [Wasi02],
            an_exit_before_the_response_is_a_500,
            an_exit_after_the_response_does_not_change_it,
            an_error_code_about_an_upstream_is_a_502,
            an_error_code_about_the_guest_itself_is_a_500,
            an_informational_status_is_a_500,
            a_trap_after_the_head_cuts_off_the_body,
            a_trap_after_the_head_cuts_off_a_body_with_a_length,
            a_failure_around_the_head_is_a_500_or_cut_off,
            a_trap_after_the_complete_body_does_not_change_it,
            a_body_that_is_left_unfinished_is_cut_off,
            a_body_that_is_dropped_is_cut_off,
            a_body_shorter_than_its_content_length_is_cut_off,
            a_head_request_to_a_guest_that_fails_has_no_body,
            a_failure_right_after_the_head_is_a_500,
            a_body_that_is_complete_at_once_gets_a_content_length,
            error_pages_do_not_say_why_a_guest_failed,
            a_guest_that_fails_is_destroyed_at_once,
            an_endless_loop_before_the_response_is_a_504,
            a_body_longer_than_its_content_length_is_logged,
        }
        $crate::http_suite! { @area $front, cancellation:
            a_client_that_leaves_before_its_response_cancels_the_instance [Cancellation],
            a_client_that_leaves_a_guest_in_an_endless_loop_cancels_it [Cancellation],
            a_client_that_leaves_during_its_response_cancels_the_instance [Cancellation],
            a_client_that_leaves_during_its_request_cancels_the_instance [StreamedRequests],
            a_stream_that_is_reset_cancels_only_its_instance [Http2],
            a_connection_that_ends_cancels_all_of_its_streams [Http2],
        }
        $crate::http_suite! { @area $front, isolation:
            each_request_has_a_new_instance,
            no_failure_disturbs_other_requests_or_the_process,
            no_failure_disturbs_the_requests_of_its_own_application,
            a_failing_stream_does_not_disturb_others_of_its_connection [Http2],
            guests_in_endless_loops_do_not_delay_other_requests,
            a_guest_that_allocates_without_end_is_stopped_and_its_memory_freed,
            endless_recursion_is_only_a_500,
            concurrent_requests_do_not_mix,
        }
        $crate::http_suite! { @area $front, streaming:
            a_guest_may_respond_before_the_request_body_is_complete [StreamedRequests],
            request_and_response_bodies_stream_at_the_same_time [StreamedRequests],
            request_and_response_bodies_stream_over_http2 [Http2],
            trailers_pass_both_ways [Trailers],
            trailers_pass_both_ways_over_http2 [Http2],
            trailers_that_are_not_sent_over_http1_are_logged_once [Trailers],
            a_download_has_every_byte_in_its_place,
            an_upload_comes_back_with_every_byte_in_its_place,
            an_upload_that_the_host_forwards_comes_back_complete,
            a_file_that_the_host_reads_is_sent_complete,
            uploading_a_gibibyte_takes_little_memory,
            downloading_a_gibibyte_takes_little_memory,
            back_pressure_of_a_slow_client_stops_its_guest,
            back_pressure_of_a_slow_client_stops_its_guest_over_http2 [Http2],
            back_pressure_of_a_slow_guest_stops_its_client [StreamedRequests],
            many_streams_share_one_connection [Http2],
            work_continues_after_the_complete_response,
            work_continues_after_a_response_without_a_body,
            work_continues_after_the_client_has_left,
            an_unread_body_does_not_disturb_other_requests,
            a_guest_gets_the_error_code_of_a_request_body_that_fails [StreamedRequests],
        }
        $crate::http_suite! { @area $front, http1:
            a_guest_sees_the_request_as_it_was_sent,
            the_authority_is_the_server_name_or_the_host_with_its_port,
            a_redirect_by_a_guest_keeps_the_port_of_the_host,
            any_method_is_passed_on,
            an_absolute_target_names_the_host [AnyRequest],
            a_request_may_come_byte_by_byte,
            requests_may_be_pipelined,
            keep_alive_survives_errors,
            a_client_can_end_keep_alive,
            http_1_0_has_no_keep_alive_by_default,
            http_1_0_may_ask_for_keep_alive,
            expect_100_continue_is_answered_when_the_guest_reads_the_body [Continue],
            expect_100_continue_is_not_answered_when_the_guest_reads_no_body [Continue],
            a_head_request_gets_only_the_head,
            a_status_without_content_has_none,
            a_response_has_a_date_and_a_server,
            a_malformed_body_is_a_400_whatever_the_guest_answers,
        }
        $crate::http_suite! { @area $front, http2:
            http2_with_prior_knowledge_is_served [Http2],
            a_guest_sees_the_same_over_http2 [Http2],
            an_authority_over_http2_has_its_port_if_it_is_the_host [Http2],
            cookie_fields_of_http2_reach_a_guest_as_one [Http2],
            a_head_request_over_http2_gets_only_the_head [Http2],
            a_status_without_content_has_none_over_http2 [Http2],
            an_unread_body_does_not_block_other_streams [Http2],
            too_many_fields_refuse_only_their_stream [Http2],
            curl_speaks_http2 [Http2],
        }
        $crate::http_suite! { @area $front, logs:
            guest_output_is_logged_line_by_line,
            a_guest_cannot_forge_or_colour_lines,
            an_overlong_line_is_continued_on_the_next,
            concurrent_requests_have_different_ids,
            guest_output_beyond_the_rate_limit_is_dropped_and_counted,
            failures_are_logged_up_to_a_rate_limit_and_counted,
            a_long_error_code_is_truncated_in_the_log,
        }
        $crate::http_suite! { @area $front, capabilities:
            guests_have_exactly_the_configured_environment,
            without_a_configured_environment_guests_have_none,
            by_default_guests_have_no_files_sockets_or_outbound_requests,
            a_guest_cannot_set_hop_by_hop_fields,
        }
        $crate::http_suite! { @area $front, limits:
            a_response_that_exceeds_the_timeout_is_a_504,
            the_timeout_ends_with_the_head_of_the_response [StreamedRequests],
            each_application_has_its_own_limits,
            a_guest_that_computes_too_long_before_its_response_is_a_504,
            a_guest_that_computes_too_long_within_its_response_is_cut_off,
            a_guest_that_waits_uses_no_cpu_time,
            an_upload_uses_no_cpu_time,
            memory_grows_to_the_limit_and_not_beyond,
            handles_are_limited_to_1024_at_a_time,
            a_set_of_fields_is_limited_to_64_kib,
            requests_beyond_the_concurrency_limit_wait,
            requests_that_wait_too_long_get_503_with_retry_after [ShortQueue],
        }
        $crate::http_suite! { @area $front, instances:
            by_default_no_instance_sees_two_requests,
            an_instance_is_reused_up_to_its_limit,
            a_trap_ends_the_instance,
            an_instance_serves_one_request_at_a_time,
            concurrent_requests_share_an_instance_if_allowed,
            a_trap_fails_only_the_requests_of_its_instance,
            requests_beyond_the_concurrency_of_instances_are_served_in_turn,
            execution_timeout_applies_to_each_request_of_a_shared_instance,
        }
        $crate::http_suite! { @area $front, outbound:
            only_granted_servers_are_reached,
            no_outbound_request_is_granted_by_default,
            a_wildcard_does_not_grant_loopback_addresses,
            outbound_connections_are_kept_alive,
            bodies_are_exchanged_with_upstreams,
            an_upload_without_a_body_has_no_framing_or_a_content_length_of_0,
            an_upload_that_is_complete_at_once_has_a_content_length,
            an_upload_that_waits_for_the_response_is_sent_in_chunks,
            hop_by_hop_te_is_named_in_the_connection_field,
            bodies_stream_to_upstreams_and_back [StreamedRequests, Wasi03],
            redirects_are_not_followed_for_the_guest,
            the_host_field_names_the_upstream,
            timeouts_of_a_guest_apply_to_its_requests,
            a_truncated_upstream_response_is_cut_off,
            a_guest_gets_the_error_code_of_a_response_body_that_fails,
            an_unreachable_upstream_is_connection_refused,
            a_client_that_leaves_cancels_the_guests_upload [StreamedRequests],
        }
    };
    (@area $front:expr, $area:ident: $($case:ident $([$($need:ident),+])?,)*) => {
        mod $area {
            #[allow(unused_imports, reason = "the front end may stand in a prelude")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    let front = $front;
                    let name = concat!(stringify!($area), "::", stringify!($case));
                    if $crate::can_run(&front, name, &[$($($crate::Need::$need),+)?]) {
                        $crate::cases::$area::$case(&front);
                    }
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use test_components::World;

    /// The text of each file of the cases.
    fn cases() -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cases");
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let area = path.file_stem().unwrap().to_string_lossy().into_owned();
                (area, fs::read_to_string(path).unwrap())
            })
            .filter(|(area, _)| area != "mod")
            .collect()
    }

    #[test]
    fn every_guest_is_named_by_a_case() {
        let cases: String = cases().into_iter().map(|(_, text)| text).collect();
        for guest in World::Wasi02.guests() {
            assert!(
                cases.contains(&format!("\"{guest}\"")),
                "no case has the guest {guest}"
            );
        }
    }

    #[test]
    fn every_guest_has_a_twin() {
        // What a component of WASI 0.3 cannot do, or what is about WASI 0.2.
        let alone = ["no_response", "proxy_02_0"];
        let mut with_a_twin = World::Wasi02.guests();
        with_a_twin.retain(|guest| !alone.contains(guest));
        assert_eq!(with_a_twin, World::Wasi03.guests());
    }

    #[test]
    fn every_case_is_in_the_list() {
        let list = include_str!("suite.rs");
        for (area, text) in cases() {
            let start = format!("@area $front, {area}:");
            let listed = list.split_once(&start).map(|(_, rest)| rest);
            let listed = listed
                .and_then(|rest| rest.split('}').next())
                .unwrap_or_default();
            let names = text.lines().filter_map(|line| line.strip_prefix("pub fn "));
            for name in names.filter_map(|name| name.split('(').next()) {
                let is_listed = listed.lines().any(|line| {
                    let line = line.trim().trim_end_matches(',');
                    line.split(" [").next() == Some(name)
                });
                assert!(is_listed, "{area}::{name} is in no list");
            }
        }
    }
}
