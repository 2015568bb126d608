//! No text makes the reader panic, and whatever it says points into the text.

use proptest::prelude::*;

use super::*;

const FULL: &str = include_str!("../../../../configs/guard.toml");
const MANY: &str = include_str!("many.toml");

fn check(text: &str) {
    let diagnostics = match parse("fuzz.toml", text) {
        Ok(loaded) => loaded.warnings,
        Err(errors) => {
            assert!(errors.error_count() > 0, "refused without an error: {text:?}");
            // Drawing must not fail either.
            assert!(!errors.render(false).is_empty() && !errors.render(true).is_empty());
            errors.diagnostics
        }
    };
    let lines = text.split('\n').count();
    for d in &diagnostics {
        let spans = d.span.iter().chain(d.related.iter().map(|r| &r.span));
        for span in spans {
            assert!(span.start <= span.end && span.end <= text.len(), "{d} {span:?}");
            assert!(text.get(span.clone()).is_some(), "{d} {span:?} splits a character");
        }
        assert!(d.line.is_none_or(|l| (1..=lines).contains(&l)), "{d}");
        assert!(!d.message.is_empty());
        assert!(!d.to_string().contains(|c: char| c.is_control()), "{d:?}");
    }
}

/// The annotated example with all its keys set.
fn base() -> String {
    let bare = |l: &str| match l.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.into(),
        _ => l.to_owned(),
    };
    FULL.lines().map(bare).filter(|l| !l.starts_with('#')).collect::<Vec<String>>().join("\n")
}

fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<char>().prop_map(String::from),
        "[\\[\\]{}=.,#\"'\n\r\t \\\\]{1,3}",
        "[a-z_]{1,6} = [0-9a-z\"]{1,6}\n",
        Just("\u{feff}".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("[bulkheads.research]\n".to_owned()),
        Just("[[recovery]]\n".to_owned()),
        Just("a.b.c = {}\n".to_owned()),
        Just("é\u{1F980}\u{0}".to_owned()),
    ]
}

fn mutated(base: String) -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, pieces()), 1..6);
    edits.prop_map(move |edits| {
        let mut chars: Vec<char> = base.chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        chars.into_iter().collect()
    })
}

/// A line that cannot be read hides nothing and blames nothing else.
#[test]
fn one_unreadable_value_is_one_error() {
    let base = base();
    let lines: Vec<&str> = base.lines().collect();
    let mut count = 0;
    for (index, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        for wrong in ["2GiB", "\"unclosed", "[1, 2", "@"] {
            let broken = format!("{key} = {wrong}");
            let mut changed = lines.clone();
            changed[index] = &broken;
            let found = brief(&changed.join("\n"));
            let here = format!("{}:", index + 1);
            let same_line = found.len() == 1 && found[0].starts_with(&here);
            // An open bracket is only noticed later, and what follows is not judged.
            let true_or_later = |f: &String| f.starts_with(&here) || f.contains("not valid TOML");
            let bracket = wrong.starts_with('[') && found.iter().all(true_or_later);
            assert!(same_line || bracket, "{broken}: {found:#?}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_like_toml(parts in prop::collection::vec(pieces(), 0..30)) {
        check(&parts.concat());
    }

    #[test]
    fn a_right_file_with_edits(text in mutated(base())) {
        check(&text);
    }

    #[test]
    fn a_wrong_file_with_edits(text in mutated(MANY.to_owned())) {
        check(&text);
    }

    #[test]
    fn any_endpoint(text in "\\PC{0,40}|[0-9a-f:./\\[\\]%]{0,30}") {
        if let Ok(endpoint) = text::endpoint::parse(&text) {
            // What is accepted, written again, means the same.
            let again = text::endpoint::parse(&text::endpoint::display(&endpoint));
            prop_assert_eq!(again, Ok(endpoint));
        }
    }

    #[test]
    fn durations_and_sizes_come_back(ms in 0..=31_536_000_000_u64, bytes in 0..(1_u64 << 50)) {
        let duration = std::time::Duration::from_millis(ms);
        prop_assert_eq!(text::duration::parse(&text::duration::format(duration)), Ok(duration));
        prop_assert_eq!(text::size::parse(&text::size::format(bytes)), Ok(bytes));
    }
}
