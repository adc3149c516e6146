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

/// The program header that names a dynamic loader.
const INTERPRETER: usize = 3;

/// Makes sure that a program needs no dynamic loader.
///
/// # Errors
///
/// When it names one, or is not an ELF file of 64 bits.
pub(super) fn require_static(file: &[u8]) -> Result<()> {
    require_elf(file)?;
    let (start, size) = (number(file, HEADERS, 8)?, number(file, HEADER_SIZE, 2)?);
    for index in 0..number(file, HEADER_COUNT, 2)? {
        let header = index.checked_mul(size).and_then(|at| at.checked_add(start));
        let header = header.context("a program header outside of the file")?;
        if number(file, header, 4)? == INTERPRETER {
            bail!("not static: it names a dynamic loader");
        }
    }
    Ok(())
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
    let end = at.checked_add(size);
    let bytes = end.and_then(|end| file.get(at..end));
    let bytes = bytes.with_context(|| format!("the file ends before offset {at}"))?;
    let value = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).with_context(|| format!("too large a number at offset {at}"))
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
    fn offsets_outside_of_the_file_are_errors() {
        let mut file = file(3, &[1]);
        file[HEADERS..HEADERS + 8].fill(0xff);
        assert!(require_static(&file).is_err());
    }
}
