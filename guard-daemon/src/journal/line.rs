//! One line of a journal: JSON that carries a checksum over itself, so that a torn or damaged line is
//! told from a good one. No I/O.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What stands between a record and its checksum.
const CHECKSUM_KEY: &str = ",\"crc32\":";

/// The line of a record (a struct, or an enum of structs), with its newline.
pub(crate) fn to_line<T: Serialize>(record: &T) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(record)?;
    let checksum = crc32(line.as_bytes());
    line.pop();
    Ok(format!("{line}{CHECKSUM_KEY}{checksum}}}\n"))
}

/// Reads a line (without newline); an error says what is wrong with it.
pub(crate) fn from_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    let (record, checksum) =
        text.rsplit_once(CHECKSUM_KEY).ok_or("it has no checksum at its end")?;
    let checksum: u32 = checksum
        .strip_suffix('}')
        .and_then(|digits| digits.parse().ok())
        .ok_or("its checksum is cut off")?;
    let record = format!("{record}}}");
    if crc32(record.as_bytes()) != checksum {
        return Err("its checksum does not match".to_owned());
    }
    serde_json::from_str(&record).map_err(|e| e.to_string())
}

/// CRC-32 as in zlib and Ethernet, one table look-up per byte.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc32_table();
    !bytes
        .iter()
        .fold(!0_u32, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

const fn crc32_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn checksum_is_the_usual_crc32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
