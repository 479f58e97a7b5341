//! The resolver against a small obvious model, and its words.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use kodiak_registry::resolve::{Change, Plan, Reason, Request, Source, loading_order, resolve};
use kodiak_registry::{Error, Requirements, Result};
use proptest::prelude::*;
use semver::{Version, VersionReq};

/// Extensions with their versions and what each needs.
#[derive(Clone, Debug, Default)]
struct World(BTreeMap<String, BTreeMap<Version, Requirements>>);

impl World {
    /// Lines such as `scm 0.1.0 needs blob ^0.1, goes-with secrets ^0.1`.
    fn new(lines: &[&str]) -> Self {
        let mut world = Self::default();
        for line in lines {
            let mut words = line.splitn(3, ' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            let mut requirements = Requirements::default();
            for requirement in words.next().into_iter().flat_map(|rest| rest.split(',')) {
                let [kind, name, range] = requirement.trim().splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    panic!("{line}")
                };
                let list = if kind == "needs" { &mut requirements.needed } else { &mut requirements.optional };
                list.insert(name.to_owned(), range.parse().unwrap());
            }
            world.0.entry(name.to_owned()).or_default().insert(version.parse().unwrap(), requirements);
        }
        world
    }
}

impl Source for World {
    fn versions(&self, name: &str) -> Result<Vec<Version>> {
        Ok(self.0.get(name).into_iter().flat_map(|versions| versions.keys().cloned()).collect())
    }

    fn requirements(&self, name: &str, version: &Version) -> Result<Requirements> {
        Ok(self.0[name][version].clone())
    }
}

fn request(text: &str) -> Request {
    match text.split_once('@') {
        Some((name, requirement)) => Request::of(name, requirement.parse().unwrap()),
        None => Request::any(text),
    }
}

fn installed(list: &[(&str, &str)]) -> BTreeMap<String, Version> {
    list.iter().map(|(name, version)| ((*name).to_owned(), version.parse().unwrap())).collect()
}

fn run(world: &World, requests: &[&str], present: &[(&str, &str)]) -> Result<Plan> {
    let requests: Vec<Request> = requests.iter().map(|text| request(text)).collect();
    resolve(world, &requests, &installed(present))
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {}", step.name, step.version)).collect()
}

#[test]
fn dependencies_come_first_and_say_why() {
    let world = World::new(&[
        "models 0.1.0 needs scm ^0.1, needs blob ^0.1",
        "scm 0.1.0 needs blob ^0.1",
        "blob 0.1.0",
        "blob 0.1.4",
        "blob 0.2.0",
    ]);
    let plan = run(&world, &["models"], &[]).unwrap();
    assert_eq!(steps(&plan), ["blob 0.1.4", "scm 0.1.0", "models 0.1.0"]);
    assert!(plan.steps.iter().all(|step| step.change == Change::Install));
    let reasons: Vec<String> = plan.steps[0].reasons.iter().map(Reason::to_string).collect();
    assert_eq!(reasons, ["needed by models 0.1.0", "needed by scm 0.1.0"]);
    assert_eq!(plan.steps[2].reasons, [Reason::Asked]);
}

#[test]
fn what_is_installed_stays_unless_it_must_or_should_move() {
    let world = World::new(&[
        "scm 0.1.0 needs blob ^0.1",
        "scm 0.2.0 needs blob ^0.2",
        "blob 0.1.0",
        "blob 0.1.4",
        "blob 0.2.0",
    ]);
    let plan = run(&world, &["scm@^0.1"], &[("blob", "0.1.0")]).unwrap();
    assert_eq!(steps(&plan), ["blob 0.1.0", "scm 0.1.0"]);
    assert_eq!(plan.steps[0].change, Change::Keep);
    assert_eq!(plan.steps[0].reasons[0], Reason::Installed);

    let plan = run(&world, &["scm"], &[("blob", "0.1.0")]).unwrap();
    assert_eq!(steps(&plan), ["blob 0.2.0", "scm 0.2.0"]);
    assert_eq!(plan.steps[0].change, Change::Replace { from: Version::new(0, 1, 0) });

    let update = [Request::newest("blob", VersionReq::STAR)];
    let plan = resolve(&world, &update, &installed(&[("blob", "0.1.0"), ("scm", "0.1.0")])).unwrap();
    assert_eq!(steps(&plan), ["blob 0.2.0", "scm 0.2.0"], "an update takes along what needs to move");
}

#[test]
fn optional_requirements_count_only_for_what_is_there() {
    let world = World::new(&[
        "scm 0.1.0 goes-with secrets ^0.1",
        "secrets 0.1.0",
        "secrets 0.2.0",
        "vault 1.0.0 needs secrets ^0.2",
    ]);
    assert_eq!(steps(&run(&world, &["scm"], &[]).unwrap()), ["scm 0.1.0"], "optional means not installed for it");
    assert_eq!(steps(&run(&world, &["scm", "secrets"], &[]).unwrap()), ["secrets 0.1.0", "scm 0.1.0"]);
    assert_eq!(steps(&run(&world, &["scm"], &[("secrets", "0.2.0")]).unwrap()), ["secrets 0.1.0", "scm 0.1.0"]);
    let error = run(&world, &["scm", "vault"], &[]).unwrap_err();
    assert_eq!(error.code(), "KDK-0404");
    assert!(error.details().contains(&"`scm` 0.1.0 goes only with `secrets` ^0.1".to_owned()), "{error:?}");
    assert!(error.details().contains(&"`vault` 1.0.0 needs `secrets` ^0.2".to_owned()), "{error:?}");
}

#[test]
fn prereleases_are_only_taken_when_named() {
    let world = World::new(&["blob 0.1.0", "blob 0.2.0-beta.1", "blob 0.2.0-beta.2", "geo 1.0.0-alpha"]);
    assert_eq!(steps(&run(&world, &["blob"], &[]).unwrap()), ["blob 0.1.0"]);
    assert_eq!(steps(&run(&world, &["blob@^0.2.0-beta.1"], &[]).unwrap()), ["blob 0.2.0-beta.2"]);
    assert_eq!(run(&world, &["geo"], &[]).unwrap_err().code(), "KDK-0404");
    let plan = run(&world, &["blob"], &[("geo", "1.0.0-alpha")]).unwrap();
    assert_eq!(steps(&plan), ["blob 0.1.0", "geo 1.0.0-alpha"], "an installed one may stay");
}

#[test]
fn a_conflict_is_a_chain_of_reasons_with_a_way_out() {
    let world = World::new(&["models 0.2.0 needs scm ^0.1", "scm 0.1.0 needs blob ^0.1", "blob 0.1.4", "blob 0.2.0"]);
    let error = run(&world, &["models@^0.2", "blob@^0.2"], &[]).unwrap_err();
    assert_eq!(error.code(), "KDK-0404");
    assert_eq!(
        error.details(),
        [
            "`blob` ^0.2 is asked for",
            "`models` ^0.2 is asked for",
            "`models` 0.2.0 needs `scm` ^0.1",
            "`scm` 0.1.0 needs `blob` ^0.1",
        ]
    );
    assert_eq!(error.help().unwrap(), "kodiak ext install models@^0.2 blob@=0.1.4");
}

#[test]
fn other_contradictions_are_explained_too() {
    let world = World::new(&[
        "scm 0.1.0 needs blob ^0.1",
        "scm 0.1.1 needs blob ^0.1",
        "blob 0.2.0",
        "old 1.0.0 needs lib ^1",
        "new 1.0.0 needs lib ^2",
        "lib 1.0.0",
        "lib 2.0.0",
        "lost 1.0.0 needs gone ^1",
    ]);
    let error = run(&world, &["scm"], &[]).unwrap_err();
    assert_eq!(
        error.details(),
        [
            "`scm` is asked for",
            "the versions of `scm` are 0.1.0 and 0.1.1",
            "`scm` 0.1.0 and 0.1.1 need `blob` ^0.1",
            "the only version of `blob` is 0.2.0"
        ]
    );
    assert_eq!(error.help(), None, "nothing would help");

    let error = run(&world, &["new"], &[("old", "1.0.0")]).unwrap_err();
    assert!(error.details().contains(&"`old` 1.0.0 is installed".to_owned()), "{error:?}");
    assert_eq!(error.help().unwrap(), "kodiak ext uninstall old && kodiak ext install new");

    let error = run(&world, &["lost"], &[]).unwrap_err();
    assert_eq!(error.details(), ["`lost` is asked for", "`lost` 1.0.0 needs `gone` ^1", "no index knows `gone`"]);
    assert_eq!(error.help().unwrap(), "kodiak ext search gone");

    let error = run(&world, &["lib@^3"], &[]).unwrap_err();
    assert_eq!(error.details(), ["`lib` ^3 is asked for", "the versions of `lib` are 1.0.0 and 2.0.0"]);
    assert_eq!(error.help().unwrap(), "kodiak ext install lib@=2.0.0");

    assert_eq!(run(&world, &["nothing"], &[]).unwrap_err().code(), "KDK-0403");
    assert!(run(&world, &[], &[]).unwrap().steps.is_empty());
}

#[test]
fn circles_are_refused_by_all_names_unless_an_order_exists() {
    let world = World::new(&[
        "b 1.0.0 needs c ^1",
        "c 1.0.0 needs a ^1",
        "a 1.0.0 needs b ^1",
        "x 1.0.0 needs a ^1",
        "me 1.0.0 needs me ^1",
    ]);
    let error = run(&world, &["x"], &[]).unwrap_err();
    assert_eq!(error.code(), "KDK-0405");
    assert_eq!(error.to_string(), "`a`, `b` and `c` need each other in a circle");
    let error = run(&world, &["me"], &[]).unwrap_err();
    assert!(error.details().contains(&"`me` 1.0.0 needs itself".to_owned()), "{error:?}");

    let world = World::new(&["a 1.0.0 needs b ^1", "b 1.0.0 goes-with a ^1"]);
    assert_eq!(steps(&run(&world, &["a"], &[]).unwrap()), ["b 1.0.0", "a 1.0.0"]);
    let world = World::new(&["a 1.0.0 goes-with b ^1", "b 1.0.0"]);
    assert_eq!(
        steps(&run(&world, &["a", "b"], &[]).unwrap()),
        ["b 1.0.0", "a 1.0.0"],
        "optional ones load first where they can"
    );
}

#[test]
fn errors_of_the_source_come_through() {
    struct Broken;
    impl Source for Broken {
        fn versions(&self, name: &str) -> Result<Vec<Version>> {
            if name == "a" { Ok(vec![Version::new(1, 0, 0)]) } else { Err(Error::NotInIndex { name: "broken".into() }) }
        }
        fn requirements(&self, _: &str, _: &Version) -> Result<Requirements> {
            Ok(Requirements { needed: [("b".to_owned(), VersionReq::STAR)].into(), ..Requirements::default() })
        }
    }
    let error = resolve(&Broken, &[Request::any("a")], &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "no index knows the extension `broken`");
}

/// A chain of requirements that would take exponential time without learning from conflicts.
#[test]
fn a_long_chain_with_many_versions_is_solved_at_once() {
    let mut world = World::default();
    for level in 0..40u64 {
        for minor in 0..20 {
            let mut requirements = Requirements::default();
            if level < 39 {
                requirements.needed.insert(format!("e{}", level + 1), format!("<=1.{minor}.0").parse().unwrap());
            }
            world.0.entry(format!("e{level}")).or_default().insert(Version::new(1, minor, 0), requirements);
        }
    }
    world.0.get_mut("e39").unwrap().retain(|version, _| version.minor == 3);
    let plan = run(&world, &["e0"], &[]).unwrap();
    assert_eq!(plan.steps.len(), 40);
    assert_eq!(plan.steps[0].version, Version::new(1, 3, 0));
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Every choice of at most one version each: small enough to try them all.
fn assignments(world: &World) -> Vec<BTreeMap<&str, Version>> {
    let mut all = vec![BTreeMap::new()];
    for (name, versions) in &world.0 {
        let mut next = all.clone();
        for version in versions.keys() {
            next.extend(all.iter().map(|choice| {
                let mut choice = choice.clone();
                choice.insert(name.as_str(), version.clone());
                choice
            }));
        }
        all = next;
    }
    all
}

/// The rules, one after the other.
fn is_solution(
    world: &World,
    choice: &BTreeMap<&str, Version>,
    requests: &[Request],
    present: &BTreeMap<String, Version>,
) -> bool {
    let fits = |name: &String, requirement: &VersionReq| {
        choice.get(name.as_str()).is_some_and(|version| requirement.matches(version))
    };
    let asked = requests.iter().all(|request| fits(&request.name, &request.requirement));
    let kept = present.keys().all(|name| choice.contains_key(name.as_str()));
    let content = choice.iter().all(|(name, version)| {
        let requirements = &world.0[*name][version];
        requirements.needed.iter().all(|(name, requirement)| fits(name, requirement))
            && requirements
                .optional
                .iter()
                .all(|(name, requirement)| !choice.contains_key(name.as_str()) || fits(name, requirement))
    });
    let mut wanted: BTreeSet<&str> =
        requests.iter().map(|request| request.name.as_str()).chain(present.keys().map(String::as_str)).collect();
    loop {
        let more: BTreeSet<&str> = wanted
            .iter()
            .filter_map(|name| world.0.get(*name)?.get(choice.get(name)?))
            .flat_map(|requirements| requirements.needed.keys().map(String::as_str))
            .collect();
        let before = wanted.len();
        wanted.extend(more);
        if wanted.len() == before {
            break;
        }
    }
    asked && kept && content && choice.keys().all(|name| wanted.contains(name))
}

/// How good a version is: what is installed first, then the highest.
fn rank(name: &str, version: &Version, present: &BTreeMap<String, Version>) -> (bool, Version) {
    (present.get(name) == Some(version), version.clone())
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![
        4 => (1u64..4, 0u64..2).prop_map(|(major, minor)| Version::new(major, minor, 0)),
        1 => Just("2.0.0-rc.1".parse().unwrap()),
    ]
}

fn requirement() -> impl Strategy<Value = VersionReq> {
    const TEXTS: [&str; 10] = ["*", "^1", "^2", "^3", ">=2", "<2", "=1.0.0", ">=1.1, <3", "^2.0.0-rc.1", "^9"];
    prop::sample::select(&TEXTS[..]).prop_map(|text| text.parse().unwrap())
}

fn world() -> impl Strategy<Value = World> {
    let list = |most| {
        prop::collection::btree_map(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), requirement(), 0..=most)
    };
    let requirements = (list(2), list(2)).prop_map(|(needed, optional)| Requirements { needed, optional });
    let versions = prop::collection::btree_map(version(), requirements, 1..4);
    prop::collection::btree_map(prop::sample::select(&NAMES[..]).prop_map(str::to_owned), versions, 1..=4).prop_map(
        |mut world| {
            for (name, versions) in &mut world {
                for requirements in versions.values_mut() {
                    // Manifests rule these out.
                    requirements.needed.remove(name);
                    requirements.optional.remove(name);
                    requirements.optional.retain(|name, _| !requirements.needed.contains_key(name));
                }
            }
            World(world)
        },
    )
}

fn problem() -> impl Strategy<Value = (World, Vec<Request>, BTreeMap<String, Version>)> {
    let requests = prop::collection::vec((any::<prop::sample::Index>(), requirement()), 0..3);
    let present = prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3);
    (world(), requests, present).prop_map(|(world, requests, present)| {
        let names: Vec<String> = world.0.keys().cloned().collect();
        let requests = requests
            .into_iter()
            .map(|(name, requirement)| Request::of(names[name.index(names.len())].clone(), requirement))
            .collect();
        let present = present
            .into_iter()
            .map(|(name, version)| {
                let name = &names[name.index(names.len())];
                let versions: Vec<Version> = world.0[name].keys().cloned().collect();
                (name.clone(), versions[version.index(versions.len())].clone())
            })
            .collect();
        (world, requests, present)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// There is a plan exactly if trying everything finds one, and no plan is worse than it must be.
    #[test]
    fn the_resolver_agrees_with_trying_everything((world, requests, present) in problem()) {
        let all: Vec<_> = assignments(&world).into_iter().filter(|choice| is_solution(&world, choice, &requests, &present)).collect();
        match resolve(&world, &requests, &present) {
            Ok(plan) => {
                let choice: BTreeMap<&str, Version> = plan.steps.iter().map(|step| (step.name.as_str(), step.version.clone())).collect();
                prop_assert!(all.contains(&choice), "not a solution: {:?}", choice);
                check_order(&world, &plan)?;
                check_preference(&all, &choice, &requests, &present)?;
                for step in &plan.steps {
                    prop_assert!(!step.reasons.is_empty());
                    prop_assert_eq!(step.change == Change::Keep, present.get(&step.name) == Some(&step.version));
                }
            }
            Err(Error::NoSolution { reasons, help }) => {
                prop_assert!(all.is_empty(), "missed: {:?}", all[0]);
                prop_assert!(!reasons.is_empty());
                check_way_out(&world, help.as_deref(), &present)?;
            }
            Err(Error::Cycle { names }) => {
                let circular = |choice: &&BTreeMap<&str, Version>| (0..names.len()).all(|index| {
                    let next = &names[(index + 1) % names.len()];
                    choice.get(names[index].as_str()).is_some_and(|version| world.0[&names[index]][version].needed.contains_key(next))
                });
                prop_assert!(names.len() > 1 && all.iter().any(|choice| circular(&choice)), "{:?}", names);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// The same question has the same answer.
    #[test]
    fn the_resolver_is_deterministic((world, requests, present) in problem()) {
        let answer = || resolve(&world, &requests, &present).map_err(|error| (error.to_string(), error.details().to_vec(), error.help()));
        prop_assert_eq!(answer(), answer());
    }
}

fn check_order(world: &World, plan: &Plan) -> Result<(), TestCaseError> {
    let position: BTreeMap<&str, usize> =
        plan.steps.iter().enumerate().map(|(index, step)| (step.name.as_str(), index)).collect();
    for step in &plan.steps {
        for name in world.0[&step.name][&step.version].needed.keys() {
            prop_assert!(position[name.as_str()] < position[step.name.as_str()], "{} loads before {}", step.name, name);
        }
    }
    let requirements: Vec<_> =
        plan.steps.iter().map(|step| (step.name.as_str(), &world.0[&step.name][&step.version])).collect();
    prop_assert_eq!(loading_order(requirements).unwrap(), steps_names(plan));
    Ok(())
}

fn steps_names(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.name.clone()).collect()
}

fn check_preference(
    all: &[BTreeMap<&str, Version>],
    choice: &BTreeMap<&str, Version>,
    requests: &[Request],
    present: &BTreeMap<String, Version>,
) -> Result<(), TestCaseError> {
    // What is asked for and installed, in this order: no solution is better at the first difference.
    let mut order: Vec<&str> = Vec::new();
    for name in requests.iter().map(|request| request.name.as_str()).chain(present.keys().map(String::as_str)) {
        if !order.contains(&name) {
            order.push(name)
        }
    }
    let ranks = |choice: &BTreeMap<&str, Version>| {
        order.iter().map(|name| rank(name, &choice[name], present)).collect::<Vec<_>>()
    };
    let best = all.iter().map(ranks).max().unwrap();
    prop_assert_eq!(ranks(choice), best);
    // Everything else: no solution differs in one version only and is better there.
    for other in all.iter().filter(|other| other.keys().eq(choice.keys())) {
        let different: Vec<&&str> = choice.keys().filter(|name| choice[**name] != other[**name]).collect();
        if let [name] = different[..] {
            prop_assert!(
                rank(name, &choice[*name], present) > rank(name, &other[*name], present),
                "{} could be {}",
                name,
                other[*name]
            );
        }
    }
    Ok(())
}

/// A suggestion is a command that would work.
fn check_way_out(world: &World, help: Option<&str>, present: &BTreeMap<String, Version>) -> Result<(), TestCaseError> {
    let Some(help) = help.filter(|help| !help.starts_with("kodiak ext search ")) else {
        return Ok(());
    };
    let mut present = present.clone();
    let install = match help.split_once(" && ") {
        Some((uninstall, install)) => {
            present.remove(uninstall.strip_prefix("kodiak ext uninstall ").unwrap());
            install
        }
        None => help,
    };
    let requests: Vec<Request> = install
        .strip_prefix("kodiak ext install")
        .unwrap()
        .split_whitespace()
        .map(|word| request(word.trim_matches('\'')))
        .collect();
    let works =
        !matches!(resolve(world, &requests, &present), Err(Error::NoSolution { .. } | Error::NotInIndex { .. }));
    prop_assert!(works, "`{}` does not work", help);
    Ok(())
}
