#include <nxt_main.h>
#include <nxt_application.h>
#include <nxt_conf.h>
#include <nxt_port_memory_int.h>
#include <nxt_unit.h>
#include <nxt_unit_request.h>
#include <nxt_unit_response.h>

/* bindgen does not evaluate a macro with a cast. */
static const uint16_t  nxt_unit_shared_port_id = NXT_UNIT_SHARED_PORT_ID;
