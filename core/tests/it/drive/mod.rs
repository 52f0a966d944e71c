//! Drives against a small API server, with everything that happens to requests and leaders: lost, delayed, repeated and
//! refused requests, killed leaders, old objects, people. One seed is one run; it is printed when something breaks.

mod approvals;
mod executor;
mod leader;
mod server;

use leader::Run;
use server::Defect;

/// Seeds of the test without defects; [`MORE`] names another number, as `make soak` does.
const SEEDS: u64 = 1_500;
const MORE: &str = "EVENKEEL_SEEDS";
/// At most so many seeds until a defect is noticed.
const UNTIL_NOTICED: u64 = 1_500;

fn play(seed: u64, defect: Option<Defect>) -> Run {
    Run::play(seed, defect, false)
}

#[test]
fn no_seed_breaks_an_invariant() {
    let (mut fences, mut undone, mut leaders, mut lost) = (0, 0, 0, 0);
    let mut broken = Vec::new();
    let more = std::env::var(MORE).ok().and_then(|text| text.parse().ok());
    for seed in 0..more.unwrap_or(SEEDS) {
        let run = play(seed, None);
        if let Some(what) = run.server.broken.first() {
            broken.push((seed, what.clone()));
        }
        fences += run.server.fences;
        undone += run.undone;
        leaders += run.leaders;
        lost += run.lost;
    }
    if let Some((seed, _)) = broken.first() {
        // The last requests of the first of them.
        let trace = Run::play(*seed, None, true).trace.unwrap();
        let shown = trace.get(trace.len().saturating_sub(60)..).unwrap().join("\n");
        panic!("{broken:?}\n{shown}");
    }
    // It was tried.
    assert!(fences > 1_000 && undone > 500, "{fences} fences, {undone} undone");
    assert!(leaders > 2_000 && lost > 5_000, "{leaders} leaders, {lost} lost");
}

/// A lost act that counts as one that was refused is none of them: the touch and the read that follow find out.
#[test]
fn each_defect_is_noticed() {
    let mut unnoticed = Vec::new();
    for defect in Defect::ALL {
        let noticed = (0..UNTIL_NOTICED).find_map(|seed| {
            let run = play(seed, Some(defect));
            run.server.broken.first().map(|what| (seed, what.clone()))
        });
        match noticed {
            Some((seed, what)) => println!("{defect:?}: seed {seed}, {what}"),
            None => unnoticed.push(defect),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}

#[test]
fn a_seed_is_a_run() {
    let [one, other] = [(); 2].map(|()| format!("{:?}", play(11, None).server));
    assert_eq!(one, other);
}
