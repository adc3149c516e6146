/// Makes a test of each case, for the front end that the expression makes.
///
/// This is the one list of all cases.
#[macro_export]
macro_rules! http_suite {
    ($front:expr) => {
        $crate::http_suite! { @area $front, walkthrough:
            the_output_is_the_readmes_byte_for_byte,
            curl_sees_the_readmes_output,
            a_component_of_the_oldest_point_release_is_served,
        }
        $crate::http_suite! { @area $front, failures:
            a_trap_before_the_response_is_a_500,
            no_response_is_a_500,
        }
    };
    (@area $front:expr, $area:ident: $($case:ident,)*) => {
        mod $area {
            #[allow(unused_imports, reason = "the front end may stand in a prelude")]
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::cases::$area::$case(&$front);
                }
            )*
        }
    };
}
