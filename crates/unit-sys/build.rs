//! Makes Rust declarations of a Unit tree's headers, and links its libunit.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Functions that the module calls. Those of libunit are in `nxt_unit.o`, the others in unitd.
const FUNCTIONS: [&str; 22] = [
    "nxt_conf_array_elements_count",
    "nxt_conf_get_array_element",
    "nxt_conf_get_boolean",
    "nxt_conf_get_number",
    "nxt_conf_get_object_member",
    "nxt_conf_get_string",
    "nxt_conf_next_object_member",
    "nxt_conf_type",
    "nxt_unit_buf_next",
    "nxt_unit_buf_send",
    "nxt_unit_ctx_alloc",
    "nxt_unit_default_init",
    "nxt_unit_done",
    "nxt_unit_init",
    "nxt_unit_process_port_msg",
    "nxt_unit_request_done",
    "nxt_unit_request_read",
    "nxt_unit_response_add_content",
    "nxt_unit_response_add_field",
    "nxt_unit_response_buf_alloc",
    "nxt_unit_response_init",
    "nxt_unit_response_send",
];

const TYPES: [&str; 6] = [
    "nxt_app_module_t",
    "nxt_conf_type_t",
    "nxt_port_mmap_header_t",
    "nxt_port_msg_t",
    "nxt_port_msg_type_t",
    "nxt_unit_response_t",
];

const CONSTANTS: [&str; 8] = [
    "NXT_(OK|ERROR|VERNUM|DEBUG)",
    "NXT_LOG_(ALERT|ERR|WARN|NOTICE|INFO)",
    "NXT_UNIT_(OK|ERROR|AGAIN)",
    "nxt_unit_shared_port_id",
    "NXT_VERSION",
    "PORT_MMAP_CHUNK_(COUNT|SIZE)",
    "PORT_MMAP_DATA_SIZE",
    "PORT_MMAP_HEADER_SIZE",
];

fn main() {
    println!("cargo::rerun-if-env-changed=UNIT_SRC");
    println!("cargo::rerun-if-changed=src/wrapper.h");
    if let Err(message) = build() {
        // One sentence; Cargo says which package it is about.
        println!("cargo::error={message}");
    }
}

fn build() -> Result<(), String> {
    let tree = tree()?;
    let configured = tree.join("build/include/nxt_auto_config.h");
    let library = tree.join("build/src/nxt_unit.o");
    if !configured.is_file() {
        return Err(format!(
            "the Unit tree {} is not configured: run ./configure there",
            tree.display()
        ));
    }
    if !library.is_file() {
        return Err(format!(
            "the Unit tree {} has no build/src/nxt_unit.o: run make build/src/nxt_unit.o there",
            tree.display()
        ));
    }
    println!("cargo::rerun-if-changed={}", library.display());
    declare(&tree)?;
    cc::Build::new().object(&library).compile("nxt_unit");
    // For the crates above: where a path is looked up depends on it.
    let config = fs::read_to_string(&configured)
        .map_err(|error| format!("{}: {error}", configured.display()))?;
    let has_rootfs = config.contains("#define NXT_HAVE_ISOLATION_ROOTFS");
    println!("cargo::metadata=rootfs={}", u8::from(has_rootfs));
    Ok(())
}

/// The source tree to build against.
fn tree() -> Result<PathBuf, String> {
    let is_tree = |path: &Path| path.join("src/nxt_unit.h").is_file();
    if let Some(named) = env::var_os("UNIT_SRC").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        if !is_tree(&named) {
            return Err(format!(
                "UNIT_SRC is {}, which is not a source tree of NGINX Unit (it has no src/nxt_unit.h)",
                named.display()
            ));
        }
        return named
            .canonicalize()
            .map_err(|error| format!("UNIT_SRC is {}: {error}", named.display()));
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    [
        repository.join(".."),
        repository.join("../unit"),
        "/usr/src/unit".into(),
    ]
    .into_iter()
    .find_map(|path| path.canonicalize().ok().filter(|path| is_tree(path)))
    .ok_or_else(|| {
        "no source tree of NGINX Unit: set UNIT_SRC=/path/to/unit, or clone this repository into one"
            .to_owned()
    })
}

fn declare(tree: &Path) -> Result<(), String> {
    clang_sys::load().map_err(|error| {
        let error = error.lines().next().unwrap_or_default().trim();
        format!(
            "bindgen needs libclang, which was not found: install it \
             (libclang-dev on Debian, clang-devel on Fedora) or set LIBCLANG_PATH ({error})"
        )
    })?;
    let mut bindings = bindgen::Builder::default()
        .header("src/wrapper.h")
        .clang_arg(format!("-I{}", tree.join("src").display()))
        .clang_arg(format!("-I{}", tree.join("build/include").display()))
        .rust_edition(bindgen::RustEdition::Edition2024)
        .use_core()
        .generate_comments(false)
        .layout_tests(false)
        .derive_debug(false)
        .merge_extern_blocks(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for function in FUNCTIONS {
        bindings = bindings.allowlist_function(function);
    }
    for name in TYPES {
        bindings = bindings.allowlist_type(name);
    }
    for constant in CONSTANTS {
        bindings = bindings.allowlist_var(constant);
    }
    let bindings = bindings.generate().map_err(|error| {
        let error = error.to_string();
        let first = error.lines().next().unwrap_or_default();
        format!(
            "the headers of the Unit tree {} cannot be read: {first}",
            tree.display()
        )
    })?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this by cargo")?);
    bindings
        .write_to_file(out.join("unit.rs"))
        .map_err(|error| format!("{}: {error}", out.display()))
}
