//! Terminals, floods, and files that cannot be read.

use super::*;

#[test]
fn in_colour_there_are_escapes_and_without_there_are_none() {
    let errors =
        parse("guard.toml", "[daemon]\nmode = \"\\u001b[31m\"\nx = \"\u{1b}[31m\"").unwrap_err();
    assert!(errors.render(true).contains('\u{1b}'));
    assert!(errors.render(false).is_ascii(), "{}", errors.render(false));
    assert!(!errors.render(false).contains('\u{1b}'), "{}", errors.render(false));
    assert!(!errors.to_string().contains('\u{1b}'));
}

#[test]
fn a_file_of_nonsense_is_bounded() {
    let lines: Vec<String> = (0..100_000).map(|n| format!("k{n}=1\n")).collect();
    let text = lines.concat();
    let errors = parse("guard.toml", &text).unwrap_err();
    assert_eq!(errors.diagnostics.len(), 1001);
    assert_eq!(errors.diagnostics[1000].message, "99000 more like these are not shown");
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let said = |path: &Path| load(path).unwrap_err().to_string();
    let path = directory.path().join("guard.toml");
    assert!(said(&path).contains("cannot look at the file: No such file"), "{}", said(&path));
    assert!(said(directory.path()).contains("is a directory"));
    std::fs::write(&path, b"[daemon]\nmode = \"\xff\"\n").unwrap();
    assert!(said(&path).contains(":2:9: error: not UTF-8"), "{}", said(&path));
    std::fs::write(&path, vec![b'#'; MAX_FILE_BYTES as usize + 1]).unwrap();
    assert!(said(&path).contains("longer than 8388608 bytes"), "{}", said(&path));
    std::fs::write(&path, "[bulkheads.a]\n").unwrap();
    assert!(load(&path).is_ok());
}

/// Files made to be slow.
#[test]
fn floods_end() {
    let much = |piece: &str| piece.repeat(100_000 / piece.len());
    let floods = [
        much("[a]\n"),
        much("a.b = 1\n"),
        much("x.y=1\nx=1\n"),
        much("[[recovery]]\n"),
        much("["),
        much("a={a="),
        much("\"\"\""),
        much("= = =\n"),
        format!("a = [{}]", much("1,")),
        format!("[services.a]\nendpoints = [{}]", much("\"a.example:1\",")),
        format!("[services.a]\nendpoints = [{}]", much("\"http://a/\",")),
        format!("daemon.protected = [{}]", much("\"10.0.0.1/8\",\n")),
        format!("daemon.mode = \"{}\"", much("x")),
        format!("{} = 1", much("k")),
        format!("[bulkheads.\"{}\"]", much("A b")),
    ];
    for text in floods {
        let beginning: String = text.chars().take(40).collect::<String>().escape_debug().collect();
        let started = std::time::Instant::now();
        let errors = parse("flood.toml", &text).unwrap_err();
        assert!(errors.render(false).len() < 2_000_000, "{beginning}");
        // Generous: it is a debug build on a busy machine.
        let elapsed = started.elapsed();
        assert!(elapsed < std::time::Duration::from_secs(10), "{beginning}: {elapsed:?}");
    }
}
