//! What the file of a program says about how it is loaded.

use anyhow::{Context as _, Result, bail};

/// Of the header: 64 bits, little endian; the type of files that may be loaded anywhere; where the program headers
/// are, how large one is, and how many there are.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const TYPE: usize = 0x10;
const SHARED: usize = 3;
const HEADERS: usize = 0x20;
const HEADER_SIZE: usize = 0x36;
const HEADER_COUNT: usize = 0x38;

/// The program headers that name a dynamic loader, and where notes are.
const INTERPRETER: usize = 3;
const NOTES: usize = 4;

/// Of a program header: where in the file its part is, and how long.
const PART: usize = 0x08;
const PART_SIZE: usize = 0x20;

/// The note with the build id, and who defines it.
const BUILD_ID: usize = 3;
const GNU: &[u8] = b"GNU\0";

/// Makes sure that a program needs no dynamic loader.
///
/// # Errors
///
/// When it names one, or is not an ELF file of 64 bits.
pub(super) fn require_static(file: &[u8]) -> Result<()> {
    for header in program_headers(file)? {
        if number(file, header, 4)? == INTERPRETER {
            bail!("not static: it names a dynamic loader");
        }
    }
    Ok(())
}

/// The build id of a program, by which debuggers find its symbols, in hexadecimal digits.
///
/// # Errors
///
/// When it has none, or is not an ELF file of 64 bits.
pub(super) fn build_id(file: &[u8]) -> Result<String> {
    for header in program_headers(file)? {
        if number(file, header, 4)? != NOTES {
            continue;
        }
        let start = number(file, header.saturating_add(PART), 8)?;
        let size = number(file, header.saturating_add(PART_SIZE), 8)?;
        if let Some(id) = build_id_in(part(file, start, size)?)? {
            return Ok(id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
    bail!("no build id: the linker was called without --build-id");
}

/// The build id among notes. Each has the sizes of its name and of its content, a type, and both, padded to 4 bytes.
fn build_id_in(mut notes: &[u8]) -> Result<Option<&[u8]>> {
    const HEADER: usize = 12;
    while notes.len() >= HEADER {
        let (name_size, size) = (number(notes, 0, 4)?, number(notes, 4, 4)?);
        let content = HEADER.saturating_add(name_size.saturating_add(3) & !3);
        let is_build_id = number(notes, 8, 4)? == BUILD_ID;
        if is_build_id && part(notes, HEADER, name_size)? == GNU {
            return part(notes, content, size).map(Some);
        }
        let next = content.saturating_add(size.saturating_add(3) & !3);
        notes = notes.get(next..).unwrap_or_default();
    }
    Ok(None)
}

/// Where the program headers are.
fn program_headers(file: &[u8]) -> Result<Vec<usize>> {
    require_elf(file)?;
    let (start, size) = (number(file, HEADERS, 8)?, number(file, HEADER_SIZE, 2)?);
    let header = |index: usize| index.checked_mul(size)?.checked_add(start);
    let headers = (0..number(file, HEADER_COUNT, 2)?).map(header);
    let headers: Option<_> = headers.collect();
    headers.context("a program header outside of the file")
}

/// Makes sure that the system can load a program at a random address.
///
/// # Errors
///
/// When it cannot, or the file is not an ELF file of 64 bits.
pub(super) fn require_position_independent(file: &[u8]) -> Result<()> {
    require_elf(file)?;
    if number(file, TYPE, 2)? != SHARED {
        bail!("not position-independent: the system cannot load it at a random address");
    }
    Ok(())
}

fn require_elf(file: &[u8]) -> Result<()> {
    if !file.starts_with(MAGIC) {
        bail!("not an ELF file of 64 bits");
    }
    Ok(())
}

/// The number at an offset.
fn number(file: &[u8], at: usize, size: usize) -> Result<usize> {
    let value = part(file, at, size)?
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).with_context(|| format!("too large a number at offset {at}"))
}

fn part(file: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    let end = at.checked_add(size);
    let bytes = end.and_then(|end| file.get(at..end));
    bytes.with_context(|| format!("the file ends before offset {at} + {size}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a type, with program headers of these types.
    fn file(kind: u8, headers: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 0x40];
        file[..MAGIC.len()].copy_from_slice(MAGIC);
        file[TYPE] = kind;
        file[HEADERS] = 0x40;
        file[HEADER_SIZE] = 56;
        file[HEADER_COUNT] = u8::try_from(headers.len()).unwrap();
        for kind in headers {
            let mut header = [0; 56];
            header[0] = *kind;
            file.extend(header);
        }
        file
    }

    #[test]
    fn a_program_that_names_a_dynamic_loader_is_not_static() {
        require_static(&file(3, &[6, 1, 2])).unwrap();
        require_static(&file(2, &[1])).unwrap();
        let error = |file: &[u8]| require_static(file).unwrap_err().to_string();
        assert!(error(&file(3, &[6, 3, 1])).contains("dynamic loader"));
        assert!(error(b"#!/bin/sh").contains("not an ELF file"));
        let whole = file(3, &[1]);
        assert!(error(&whole[..0x41]).contains("ends before offset 64"));
    }

    #[test]
    fn a_program_for_one_address_is_not_position_independent() {
        require_position_independent(&file(3, &[1])).unwrap();
        let error = |file: &[u8]| require_position_independent(file).unwrap_err().to_string();
        assert!(error(&file(2, &[1])).contains("position-independent"));
        assert!(error(b"#!/bin/sh").contains("not an ELF file"));
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let note = |kind: u8, name: &[u8], content: &[u8]| {
            let sizes = [name.len(), content.len(), usize::from(kind)];
            let mut note: Vec<u8> = Vec::new();
            for size in sizes {
                note.extend(u32::try_from(size).unwrap().to_le_bytes());
            }
            for part in [name, content] {
                note.extend(part);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let with = |notes: &[u8]| {
            let mut file = file(3, &[1, 4]);
            let header = 0x40 + 56;
            let start = u64::try_from(file.len()).unwrap();
            file[header + PART..][..8].copy_from_slice(&start.to_le_bytes());
            let size = u64::try_from(notes.len()).unwrap();
            file[header + PART_SIZE..][..8].copy_from_slice(&size.to_le_bytes());
            file.extend(notes);
            file
        };
        let id = note(3, b"GNU\0", &[0xab, 1]);
        let others = [note(1, b"GNU\0", &[9]), note(3, b"Other\0", &[7; 5])].concat();
        assert_eq!(
            build_id(&with(&[others.clone(), id.clone()].concat())).unwrap(),
            "ab01"
        );
        assert!(build_id(&with(&others)).is_err() && build_id(&file(3, &[1])).is_err());
        let whole = with(&id);
        assert!(build_id(&whole[..whole.len() - 4]).is_err());
    }

    #[test]
    fn offsets_outside_of_the_file_are_errors() {
        let mut file = file(3, &[1]);
        file[HEADERS..HEADERS + 8].fill(0xff);
        assert!(require_static(&file).is_err());
    }
}
