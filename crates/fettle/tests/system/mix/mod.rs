//! Random mixes of all commands from many clients at once, while nothing or anything is killed; then
//! everything that has to be true is looked at from outside.
//!
//! A mix is repeated as far as its clients' choices go with `FETTLE_MIX_SEED`; what they meet depends on who
//! comes first.

mod applications;
mod clients;
mod dice;
mod field;
mod kills;
mod processes;
mod rest;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::applications::{KEPT, Machine, NATURES, VERSIONS};
use self::clients::{Keeper, Meddler};
use self::dice::Dice;
use self::field::Field;
use self::processes::{descriptors, peak_memory};
use crate::world::{Account, World};

#[test]
fn commands_of_many_clients_at_once_leave_everything_as_it_says_it_is() {
    for seed in seeds() {
        mix(seed, false, &|done| done < 50);
    }
}

#[test]
fn whatever_is_killed_meanwhile_nothing_is_lost_and_nothing_runs_twice() {
    for seed in seeds() {
        mix(seed, true, &|done| done < 25);
    }
}

/// `SOAK_SECONDS` long; its report goes to the file `SOAK_REPORT`.
#[test]
#[ignore = "ten minutes: .ci/long soak"]
fn a_long_mix_with_kills_ends_with_everything_as_it_says_it_is() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    let (began, seed) = (Instant::now(), seeds()[1]);
    let report = mix(seed, true, &|_| began.elapsed() < Duration::from_secs(seconds));
    eprintln!("{report}");
    if let Some(path) = std::env::var_os("SOAK_REPORT") {
        std::fs::write(path, report).unwrap();
    }
}

/// One that is always the same, and one that never is.
fn seeds() -> Vec<u64> {
    if let Ok(seed) = std::env::var("FETTLE_MIX_SEED") {
        return vec![seed.parse().unwrap(); 2];
    }
    vec![1, SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64]
}

/// Plays until `goes_on` says no to the number of commands that a client has given. Gives a report.
fn mix(seed: u64, kills: bool, goes_on: &(dyn Fn(u32) -> bool + Sync)) -> String {
    // Two at a time would find each other's control groups.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    eprintln!("--- again: FETTLE_MIX_SEED={seed} cargo test -p fettle --test system mix::");
    let mut world = World::new(Account::Own);
    world.with_node();
    let ends_all = world.json(&["status"])["enforced"].as_array().is_some_and(|abilities| {
        abilities.iter().any(|ability| ability["what"] == "kill" && ability["why"].is_null())
    });
    let machine = Machine { ends_all };
    let manifests: Vec<(String, Vec<String>)> = NATURES
        .iter()
        .map(|nature| (nature.title.to_owned(), versions(&world, &machine, nature, nature.title)))
        .collect();
    for number in 0..KEEPERS {
        for manifest in versions(&world, &machine, &KEPT, &format!("{}{number}", KEPT.title)) {
            world.json(&["app", "publish", &manifest]);
        }
    }
    for manifest in manifests.iter().flat_map(|(_, manifests)| &manifests[..2]) {
        world.json(&["app", "publish", manifest]);
    }
    let open = |world: &World| descriptors(world.node().pid()) + descriptors(world.server().pid());
    let before = open(&world);
    let field = Field::new(world, kills);
    let mut dice = Dice::new(seed);
    let playing = AtomicUsize::new(CLIENTS + KEEPERS);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (dice, playing) = (dice.split(), Playing(&playing));
            let mut meddler =
                Meddler { field: &field, dice, manifests: &manifests, known: Vec::new() };
            scope.spawn(move || {
                let _playing = playing;
                (0..).take_while(|done| goes_on(*done)).for_each(|done| meddler.meddle(done));
            });
        }
        for number in 0..KEEPERS {
            let (mut dice, playing, field) = (dice.split(), Playing(&playing), &field);
            scope.spawn(move || {
                let _playing = playing;
                let mut keeper = Keeper::new(number);
                (0..).take_while(|done| goes_on(*done)).for_each(|_| keeper.keep(field, &mut dice));
                keeper.check(field);
            });
        }
        // Who waits for the verdict on a version that somebody stopped waits until somebody starts it: when the
        // first have left, the last might wait for ever.
        scope.spawn(|| {
            while playing.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(Duration::from_millis(500));
                if playing.load(Ordering::SeqCst) < CLIENTS + KEEPERS {
                    for (title, _) in &manifests {
                        field.give(&["start", &format!("{title}/**")]);
                    }
                }
            }
        });
        while kills && playing.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(100 + dice.below(900)));
            kills::kill(&field, &mut dice);
        }
    });
    let played = began.elapsed();
    rest::comes_to_rest(&field);
    let instances = field.look(&["ps"]).len();
    rest::goes_away(&field);
    let after = open(&field.world.read().unwrap());
    assert!(after <= before + SPARE, "{after} descriptors, {before} at the beginning");
    report(&field, seed, played, instances)
}

fn versions(
    world: &World,
    machine: &Machine,
    nature: &applications::Nature,
    title: &str,
) -> Vec<String> {
    let manifest = |minor| nature.manifest(world, machine, title, minor);
    (0..VERSIONS).map(|minor| manifest(minor).to_str().unwrap().to_owned()).collect()
}

fn report(field: &Field, seed: u64, played: Duration, instances: usize) -> String {
    let world = field.world.read().unwrap();
    let (verdicts, killed) = (field.verdicts.lock().unwrap(), field.killed.lock().unwrap());
    let commands: u64 = verdicts.values().sum();
    let mut text = format!(
        "{commands} commands of {CLIENTS} clients and {KEEPERS} keepers in {:.0} s, seed {seed}; {instances} \
         instances at the end, of which each was what it said. No program ran twice, nothing was lost, \
         nothing was left.\n\n| killed | times |\n|---|---|\n",
        played.as_secs_f64()
    );
    for (what, times) in killed.iter() {
        writeln!(text, "| {what} | {times} |").unwrap();
    }
    text.push_str("\n| command | verdicts |\n|---|---|\n");
    let mut kinds: Vec<&str> = verdicts.keys().map(|(kind, _)| kind.as_str()).collect();
    kinds.dedup();
    for kind in kinds {
        let of_kind = verdicts.iter().filter(|((other, _), _)| other == kind);
        let words: Vec<_> = of_kind.map(|((_, word), times)| format!("{word} {times}")).collect();
        writeln!(text, "| {kind} | {} |", words.join(", ")).unwrap();
    }
    let (node, server) = (peak_memory(world.node().pid()), peak_memory(world.server().pid()));
    writeln!(
        text,
        "\nMost memory of the last node manager {node} KiB, of the last server {server} KiB."
    )
    .unwrap();
    text
}

/// Counts those who play; also one that cannot go on plays no more.
struct Playing<'a>(&'a AtomicUsize);

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const CLIENTS: usize = 4;
const KEEPERS: usize = 2;
/// Descriptors of connections that are kept, and of the runtime.
const SPARE: usize = 16;
