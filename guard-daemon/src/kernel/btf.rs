//! Finds the offset of one member of a kernel struct in the kernel's BTF, so that a kernel
//! program can read it on kernels of any version. Format: the kernel's Documentation/bpf/btf.rst.
//! Odd data means "unknown", never a guess.

use std::path::Path;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// Where the kernel shows its BTF.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Byte offset of `member` in `struct NAME` of the running kernel; `None` if unknown.
pub(super) fn member_offset_bytes(path: &Path, name: &str, member: &str) -> Option<u32> {
    find(&std::fs::read(path).ok()?, name, member)
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

fn text_at(strings: &[u8], at: u32) -> Option<&[u8]> {
    let rest = strings.get(at as usize..)?;
    rest.split(|b| *b == 0).next()
}

/// Bytes behind the 12-byte header of a type, by kind; `None` for kinds that are not known.
fn extra_bytes(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,                                 // int, var, decl tag
        2 | 7..=12 | 16 | 18 => 0, // pointer, forward, typedef, qualifiers, function, float, tag
        3 => 12,                   // array
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12, // members, sections, 64-bit values
        6 | 13 => count * 8,       // enum values, parameters
        _ => return None,
    })
}

fn find(data: &[u8], name: &str, member: &str) -> Option<u32> {
    if u16_at(data, 0)? != MAGIC {
        return None;
    }
    let header = u32_at(data, 4)? as usize;
    let types_at = header.checked_add(u32_at(data, 8)? as usize)?;
    let types = data.get(types_at..types_at.checked_add(u32_at(data, 12)? as usize)?)?;
    let strings_at = header.checked_add(u32_at(data, 16)? as usize)?;
    let strings = data.get(strings_at..strings_at.checked_add(u32_at(data, 20)? as usize)?)?;

    let mut at = 0;
    while at < types.len() {
        let type_name = u32_at(types, at)?;
        let info = u32_at(types, at + 4)?;
        let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        let bitfields = info >> 31 == 1;
        let body = at + 12;
        if kind == KIND_STRUCT && text_at(strings, type_name)? == name.as_bytes() {
            for index in 0..count {
                let entry = body + index * 12;
                if text_at(strings, u32_at(types, entry)?)? != member.as_bytes() {
                    continue;
                }
                let offset = u32_at(types, entry + 8)?;
                // With bit-fields in the struct the upper byte is the field's width.
                let bits = if bitfields { offset & 0x00ff_ffff } else { offset };
                return (bits % 8 == 0).then_some(bits / 8);
            }
        }
        at = body.checked_add(extra_bytes(kind, count)?)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_members_of_the_running_kernel() {
        if !Path::new(VMLINUX).exists() {
            println!("SKIPPED finds_members_of_the_running_kernel: no {VMLINUX}");
            return;
        }
        // struct list_head is two pointers on every kernel.
        let path = Path::new(VMLINUX);
        assert_eq!(member_offset_bytes(path, "list_head", "next"), Some(0));
        assert_eq!(member_offset_bytes(path, "list_head", "prev"), Some(8));
        assert_eq!(member_offset_bytes(path, "list_head", "nothing"), None);
        let sk_err = member_offset_bytes(path, "sock", "sk_err");
        assert!(sk_err.is_some_and(|offset| (64..4096).contains(&offset)), "{sk_err:?}");
    }

    proptest! {
        #[test]
        fn odd_data_is_no_answer_and_no_crash(mut data in prop::collection::vec(any::<u8>(), 0..400)) {
            if data.len() > 24 {
                data[..2].copy_from_slice(&MAGIC.to_ne_bytes());
                data[4..8].copy_from_slice(&24_u32.to_ne_bytes());
            }
            let _ = find(&data, "sock", "sk_err");
        }
    }
}
