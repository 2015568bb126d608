//! Files that guardd serves in a service's place.

use std::path::Path;

use super::*;

fn line(directory: &Path) -> String {
    format!("fallback = \"static:{}\"\nprotocol = \"http\"", directory.display())
}

#[test]
fn files_answer_while_the_breaker_is_open_and_only_while_guardd_is_alive() {
    if !requires::cgroups("files_answer_while_the_breaker_is_open_and_only_while_guardd_is_alive") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("index.json"), "{}").unwrap();
    let service = server("127.0.0.1:0", OF_ANOTHER);
    let address = service.address().unwrap();
    let mut guardd = start_breakers(address, &line(directory.path()), "open_timeout = \"10m\"", "");
    ready(&guardd);
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    assert_eq!(status(&mut agent), OF_ANOTHER);
    trip(&guardd);
    for _ in 0..3 {
        assert_eq!(status(&mut agent), OF_SERVICE, "200, of the file");
    }
    assert_eq!(of_research(&guardd, "guard_fallback_connects_total"), 3.0);
    // A file that is not there is a service that is down.
    std::fs::remove_file(directory.path().join("index.json")).unwrap();
    assert_eq!(status(&mut agent), 503);
    std::fs::write(directory.path().join("index.json"), "{}").unwrap();
    // Killed: no answer any more, and the breaker refuses by itself once the lease is over.
    guardd.sigkill().unwrap();
    std::thread::sleep(timing::at_most(Duration::from_millis(2_500)));
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    guardd.launch().unwrap();
    guardd.wait_ready().unwrap();
    wait::until("files again", LIMIT, || status_of(&agent.call(LIMIT).unwrap()) == OF_SERVICE)
        .unwrap();
    assert_eq!(service.counts().requests, 1);
    let rejected = breaker(&guardd, RESEARCH)["rejected"].as_u64();
    assert!(rejected > Some(0), "{rejected:?}");
    drop(agent);
    guardd.finish().unwrap();
}

#[test]
fn a_directory_that_is_missing_is_told_and_used_as_soon_as_it_is_there() {
    if !requires::cgroups("a_directory_that_is_missing_is_told_and_used_as_soon_as_it_is_there") {
        return;
    }
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("later");
    let service = server("127.0.0.1:0", OF_ANOTHER);
    let address = service.address().unwrap();
    let guardd = start_breakers(address, &line(&directory), "open_timeout = \"10m\"", "");
    let mut agent = agent(&guardd, RESEARCH, &url(address), &[]);
    events_when(&guardd, "fallback_down", 1);
    trip(&guardd);
    assert_eq!(agent.call(LIMIT).unwrap().outcome, "ECONNREFUSED");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("index.html"), "hello").unwrap();
    ready(&guardd);
    assert_eq!(status(&mut agent), OF_SERVICE);
    std::fs::rename(&directory, outer.path().join("away")).unwrap();
    wait::until("a refusal", LIMIT, || agent.call(LIMIT).unwrap().outcome == "ECONNREFUSED")
        .unwrap();
    drop(agent);
    guardd.finish().unwrap();
}
