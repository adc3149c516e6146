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
            an_exit_after_the_response_takes_nothing_back,
            an_error_code_about_what_the_guest_met_is_a_502,
            an_error_code_about_the_guest_itself_is_a_500,
            an_informational_status_is_a_500,
            a_trap_after_the_head_cuts_the_body_off,
            a_trap_after_the_head_cuts_a_body_with_a_length_off,
            a_failure_around_the_head_is_a_500_or_cut_off,
            a_trap_after_the_whole_body_takes_nothing_back,
            a_body_that_is_left_unfinished_is_cut_off,
            a_body_that_is_dropped_is_cut_off,
            a_body_shorter_than_its_length_is_cut_off,
            a_head_request_to_a_guest_that_fails_has_no_body,
            a_failure_right_behind_the_head_is_a_500,
            a_body_that_is_there_at_once_comes_with_its_length,
            no_client_learns_why_a_guest_failed,
            a_guest_that_fails_is_gone_at_once,
            an_endless_loop_before_the_response_is_a_504,
            a_body_longer_than_its_length_is_logged_as_that,
        }
        $crate::http_suite! { @area $front, cancellation:
            a_client_that_leaves_before_its_answer_cancels_the_instance [Cancellation],
            a_client_that_leaves_a_guest_in_an_endless_loop_cancels_it [Cancellation],
            a_client_that_leaves_within_the_response_cancels_the_instance [Cancellation],
            a_client_that_leaves_within_its_request_ends_the_instance [StreamedRequests],
            a_stream_that_is_reset_cancels_its_instance_alone [Http2],
            a_connection_that_ends_cancels_all_of_its_streams [Http2],
        }
        $crate::http_suite! { @area $front, isolation:
            each_request_has_a_new_instance,
            no_failure_disturbs_other_requests_or_the_process,
            no_failure_disturbs_the_requests_of_its_own_application,
            a_failing_stream_leaves_the_others_of_its_connection_alone [Http2],
            guests_in_endless_loops_hold_no_other_request_up,
            a_guest_that_takes_memory_without_end_is_stopped_and_gives_it_back,
            endless_recursion_is_a_500_and_nothing_more,
            requests_at_the_same_time_do_not_mix,
        }
        $crate::http_suite! { @area $front, streaming:
            a_guest_answers_before_the_body_has_come [StreamedRequests],
            pieces_go_to_and_fro_while_the_request_lasts [StreamedRequests],
            pieces_go_to_and_fro_over_http2 [Http2],
            trailers_pass_both_ways [Trailers],
            trailers_pass_both_ways_over_http2 [Http2],
            trailers_that_are_not_sent_over_http1_are_logged_once [Trailers],
            a_download_has_every_byte_in_its_place,
            an_upload_comes_back_with_every_byte_in_its_place,
            an_upload_that_the_host_moves_comes_back_whole,
            a_file_that_the_host_reads_comes_whole,
            a_gibibyte_up_costs_little_memory,
            a_gibibyte_down_costs_little_memory,
            a_client_that_reads_slowly_holds_the_guest_back,
            a_client_that_reads_slowly_holds_the_guest_back_over_http2 [Http2],
            a_guest_that_reads_slowly_holds_the_client_back [StreamedRequests],
            many_streams_share_one_connection [Http2],
            work_goes_on_after_the_response_is_whole,
            work_goes_on_after_a_response_without_a_body,
            work_goes_on_after_the_client_has_left_with_its_response,
            a_body_that_a_guest_leaves_unread_harms_nobody,
            a_guest_gets_the_error_code_of_a_request_body_that_fails [StreamedRequests],
        }
        $crate::http_suite! { @area $front, http1:
            a_guest_sees_the_request_as_it_was_sent,
            the_authority_is_the_server_name_or_the_host_with_its_port,
            a_redirect_that_a_guest_makes_keeps_the_port_of_the_host,
            a_method_may_be_anything,
            an_absolute_target_names_the_host [AnyRequest],
            a_request_may_come_byte_by_byte,
            requests_may_be_pipelined,
            a_connection_survives_errors,
            a_client_can_ask_for_the_connections_end,
            http_1_0_ends_with_the_connection,
            http_1_0_may_keep_the_connection,
            a_client_that_expects_it_is_told_to_continue [Continue],
            a_guest_that_needs_no_body_does_not_ask_for_it [Continue],
            a_head_request_gets_the_head_alone,
            a_status_without_content_has_none,
            a_response_has_a_date_and_a_server,
            a_broken_body_is_a_400_whatever_the_guest_makes_of_it,
        }
        $crate::http_suite! { @area $front, http2:
            http2_is_spoken_where_a_client_begins_with_it [Http2],
            a_guest_sees_the_same_over_http2 [Http2],
            an_authority_over_http2_has_its_port_if_it_is_the_host [Http2],
            cookie_fields_of_http2_reach_a_guest_as_one [Http2],
            a_head_request_over_http2_gets_the_head_alone [Http2],
            a_status_without_content_has_none_over_http2 [Http2],
            a_guest_that_leaves_the_body_unread_harms_no_other_stream [Http2],
            too_many_fields_refuse_the_stream_alone [Http2],
            curl_speaks_http2_with_us [Http2],
        }
        $crate::http_suite! { @area $front, logs:
            a_guests_lines_arrive_in_the_log_one_by_one,
            a_guest_cannot_forge_or_colour_lines,
            a_line_without_end_is_continued_on_the_next,
            requests_at_the_same_time_have_ids_of_their_own,
            what_a_guest_prints_too_much_is_lost_and_counted,
            failures_are_logged_up_to_a_rate_limit_and_counted,
            a_long_error_code_is_cut_in_the_log,
        }
        $crate::http_suite! { @area $front, capabilities:
            the_environment_is_the_configured_one_and_nothing_else,
            without_a_configured_environment_there_is_none,
            there_are_no_files_no_sockets_and_no_other_servers,
            a_guest_cannot_set_hop_by_hop_fields,
        }
        $crate::http_suite! { @area $front, limits:
            a_response_that_does_not_start_in_time_is_a_504,
            a_response_that_has_started_may_take_its_time [StreamedRequests],
            each_application_has_its_own_limits,
            a_guest_that_computes_too_long_before_its_response_is_a_504,
            a_guest_that_computes_too_long_within_its_response_is_cut_off,
            a_guest_that_waits_uses_no_computing_time_up,
            an_upload_uses_no_computing_time_up,
            memory_grows_to_the_limit_and_not_beyond,
            handles_are_limited_to_1024_at_a_time,
            a_set_of_fields_is_limited_to_64_kib,
            more_requests_than_may_be_in_progress_wait,
            requests_that_wait_too_long_are_told_to_come_again [ShortQueue],
        }
        $crate::http_suite! { @area $front, instances:
            by_default_no_instance_sees_two_requests,
            an_instance_is_used_as_often_as_it_may,
            a_trap_ends_the_instance,
            no_request_is_in_an_instance_that_has_another,
            requests_at_the_same_time_share_an_instance_that_may_be_shared,
            a_trap_fails_the_requests_of_its_instance_alone,
            more_requests_than_instances_may_take_are_served_in_turn,
            requests_together_may_compute_for_longer_than_one,
        }
        $crate::http_suite! { @area $front, outbound:
            what_is_granted_is_reached_and_nothing_else,
            nothing_is_granted_by_default,
            a_wildcard_does_not_reach_the_machine_itself,
            connections_to_other_servers_are_kept,
            bodies_go_to_other_servers_and_come_back,
            an_upload_without_a_body_has_no_framing_or_a_content_length_of_0,
            an_upload_that_is_written_at_once_has_a_content_length,
            an_upload_that_waits_for_the_response_is_sent_in_chunks,
            te_is_named_in_the_connection_field,
            pieces_go_to_other_servers_and_come_back_one_by_one [StreamedRequests, Wasi03],
            a_redirect_is_the_guests_to_follow,
            the_host_is_the_one_that_is_called,
            a_guests_time_outs_hold,
            a_response_that_breaks_off_is_not_taken_for_whole,
            a_guest_gets_the_error_code_of_a_response_body_that_fails,
            a_server_that_is_not_there_is_told_as_that,
            a_client_that_leaves_takes_the_upload_along [StreamedRequests],
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
