// The guest in C, on the bindings of wit-bindgen.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

typedef wasi_io_streams_own_input_stream_t input_t;
typedef wasi_io_streams_own_output_stream_t output_t;

static unsigned requests;

// A host that breaks the rules ends the guest.
static void require(bool kept) {
    if (!kept) {
        abort();
    }
}

static void send(output_t output, uint8_t *bytes, size_t length) {
    wasi_io_streams_borrow_output_stream_t stream = wasi_io_streams_borrow_output_stream(output);
    // No call takes more.
    const size_t most = 4096;
    while (length > 0) {
        size_t now = length < most ? length : most;
        guest_list_u8_t piece = {bytes, now};
        wasi_io_streams_stream_error_t error;
        require(wasi_io_streams_method_output_stream_blocking_write_and_flush(stream, &piece, &error));
        bytes += now;
        length -= now;
    }
}

static void echo(wasi_http_types_borrow_incoming_request_t request, output_t output) {
    wasi_http_types_own_incoming_body_t body;
    require(wasi_http_types_method_incoming_request_consume(request, &body));
    input_t input;
    require(wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &input));
    while (true) {
        guest_list_u8_t piece;
        wasi_io_streams_stream_error_t error;
        if (!wasi_io_streams_method_input_stream_blocking_read(
                wasi_io_streams_borrow_input_stream(input), 65536, &piece, &error)) {
            require(error.tag == WASI_IO_STREAMS_STREAM_ERROR_CLOSED);
            break;
        }
        send(output, piece.ptr, piece.len);
        guest_list_u8_free(&piece);
    }
    wasi_io_streams_input_stream_drop_own(input);
    wasi_http_types_incoming_body_drop_own(body);
}

static wasi_http_types_own_fields_t fields(void) {
    char count[16];
    int length = snprintf(count, sizeof count, "%u", requests);
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    wasi_http_types_field_name_t name = {(uint8_t *)"x-requests", strlen("x-requests")};
    wasi_http_types_field_value_t value = {(uint8_t *)count, (size_t)length};
    wasi_http_types_header_error_t error;
    require(wasi_http_types_method_fields_append(
        wasi_http_types_borrow_fields(fields), &name, &value, &error));
    return fields;
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t request,
    exports_wasi_http_incoming_handler_own_response_outparam_t out) {
    requests++;
    wasi_http_types_borrow_incoming_request_t asked = wasi_http_types_borrow_incoming_request(request);
    wasi_http_types_method_t method;
    wasi_http_types_method_incoming_request_method(asked, &method);
    bool is_get = method.tag == WASI_HTTP_TYPES_METHOD_GET;
    bool is_post = method.tag == WASI_HTTP_TYPES_METHOD_POST;
    wasi_http_types_method_free(&method);

    wasi_http_types_own_outgoing_response_t response =
        wasi_http_types_constructor_outgoing_response(fields());
    wasi_http_types_borrow_outgoing_response_t answered =
        wasi_http_types_borrow_outgoing_response(response);
    if (!is_get && !is_post) {
        require(wasi_http_types_method_outgoing_response_set_status_code(answered, 405));
    }
    wasi_http_types_own_outgoing_body_t body;
    require(wasi_http_types_method_outgoing_response_body(answered, &body));
    output_t output;
    require(wasi_http_types_method_outgoing_body_write(
        wasi_http_types_borrow_outgoing_body(body), &output));
    wasi_http_types_result_own_outgoing_response_error_code_t result = {.is_err = false};
    result.val.ok = response;
    wasi_http_types_static_response_outparam_set(out, &result);

    if (is_get) {
        static char text[] = "Hello, world!\n";
        send(output, (uint8_t *)text, sizeof text - 1);
    } else if (is_post) {
        echo(asked, output);
    }
    wasi_io_streams_output_stream_drop_own(output);
    wasi_http_types_error_code_t error;
    require(wasi_http_types_static_outgoing_body_finish(body, NULL, &error));
    wasi_http_types_incoming_request_drop_own(request);
}
