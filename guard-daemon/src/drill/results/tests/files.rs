//! What is written where, and what is not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::{FILES, ResultsError, check_directory, write};
use super::records;

#[test]
fn every_file_is_there_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("a/b");
    let record = records::held();
    let paths = write(&record, &parent).unwrap();
    let run = parent.join("01JD8QK3");
    let expected: Vec<_> = FILES.iter().map(|(name, _)| run.join(name)).collect();
    assert_eq!(paths, expected);
    assert_eq!(fs::read_dir(&run).unwrap().count(), FILES.len());
    let mode = fs::metadata(&run).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "{mode:o}");
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    for (name, _) in &FILES[4..] {
        assert!(report.contains(&format!("]({name})")), "{name}");
    }
    let text = fs::read_to_string(run.join("record.json")).unwrap();
    let back: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(back["schema"], "guard.drill/1");
    assert_eq!(back["samples"].as_array().unwrap().len(), 60);
}

#[test]
fn a_run_is_never_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let record = records::held();
    write(&record, directory.path()).unwrap();
    let report = directory.path().join("01JD8QK3/report.md");
    fs::write(&report, "mine").unwrap();
    let error = write(&record, directory.path()).unwrap_err();
    assert!(matches!(error, ResultsError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("01JD8QK3 exists"), "{error}");
    assert_eq!(fs::read_to_string(report).unwrap(), "mine");
}

#[test]
fn an_id_is_no_way_out_of_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut record = records::held();
    for id in ["", "..", "a/b", "/tmp", "a\nb", "."] {
        record.run_id = id.into();
        let error = write(&record, directory.path()).unwrap_err();
        assert!(matches!(error, ResultsError::RunId { .. }), "{id:?}: {error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn one_file_that_cannot_be_made_does_not_cost_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut record = records::held();
    record.start = "yesterday".into();
    let error = write(&record, directory.path()).unwrap_err().to_string();
    assert!(error.contains("journal.json") && error.contains("yesterday"), "{error}");
    let run = directory.path().join("01JD8QK3");
    assert_eq!(fs::read_dir(&run).unwrap().count(), FILES.len() - 1);
    assert!(!run.join("journal.json").exists());
}

#[test]
fn a_parent_that_is_a_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = write(&records::held(), file.path()).unwrap_err().to_string();
    let path = file.path().display().to_string();
    assert!(error.starts_with("cannot create") && error.contains(&path), "{error}");
}

#[test]
fn a_directory_can_be_tried_before() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("a/b");
    check_directory(&parent).unwrap();
    assert_eq!(fs::read_dir(&parent).unwrap().count(), 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(check_directory(file.path()).is_err());
}

#[test]
fn every_record_can_be_written() {
    for (name, record) in records::all() {
        let directory = tempfile::tempdir().unwrap();
        let paths = write(&record, directory.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(paths.len(), FILES.len(), "{name}");
    }
}
