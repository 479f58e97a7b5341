//! Installing: what would happen comes out as a plan; carrying it out puts artifacts into the store first and changes
//! the set last, in one step.

use super::source::Source;
use super::{Manager, Progress, build};
use crate::error::{Error, Result, codes};
use crate::extensions::{from_registry, gate};
use kodiak_registry::index::{Location, Pool};
use kodiak_registry::lock::{Enabled, EnabledSet, conflicts};
use kodiak_registry::manifest::Requirements;
use kodiak_registry::resolve::{Change, Request, Step, resolve};
use kodiak_registry::store::{Installed, Origin};
use kodiak_registry::{Index, Manifest, verify};
use semver::{Version, VersionReq};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an install would do, dependencies first.
#[derive(Debug)]
pub struct InstallPlan {
    /// What changes; nothing when everything is there.
    pub steps: Vec<PlannedStep>,
    /// What is there and stays.
    pub kept: Vec<(String, Version)>,
}

/// One extension that an install brings.
#[derive(Debug)]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// Its version afterwards.
    pub version: Version,
    /// The version that it replaces.
    pub from: Option<Version>,
    /// Why: `asked for`, `needed by scm 0.1.0`.
    pub reasons: Vec<String>,
    /// One line about it.
    pub summary: String,
    /// Commands, statements and functions that it brings, in words.
    pub claims: Vec<String>,
    /// What it asks to be allowed, in words.
    pub permissions: Vec<String>,
    /// What of that was not agreed to before.
    pub new_permissions: Vec<String>,
    /// Where it comes from.
    pub origin: Origin,
    from_library: Option<PathBuf>,
}

impl InstallPlan {
    /// Whether somebody has to agree to permissions.
    pub fn needs_consent(&self) -> bool {
        self.steps.iter().any(|step| !step.new_permissions.is_empty())
    }
}

impl Manager<'_> {
    /// Says what installing these would do. Nothing is built or written.
    ///
    /// # Errors
    /// NOT_A_SOURCE, NOT_IN_INDEX, NO_SOLUTION, CYCLE, CLAIM_TAKEN, BAD_MANIFEST, RESERVED_CLAIM, NOT_A_PLUGIN,
    /// NO_MANIFEST, ABI_VERSION.
    pub fn plan_install(&self, arguments: &[String]) -> Result<InstallPlan> {
        let sources = arguments.iter().map(|argument| Source::parse(argument)).collect::<Result<Vec<_>>>()?;
        let (set, indexes) = (self.set()?, self.home.indexes()?);
        let given: BTreeMap<&str, &Source> =
            sources.iter().filter_map(|source| Some((source.manifest()?.name(), source))).collect();
        let pool = self.pool(&set, &indexes, &given);
        let requests: Vec<Request> = sources.iter().map(request).collect();
        let installed = set.iter().map(|enabled| (enabled.name.clone(), enabled.version.clone())).collect();
        let plan = resolve(&pool, &requests, &installed).map_err(from_registry)?;

        let (mut steps, mut kept, mut manifests) = (Vec::new(), Vec::new(), Vec::new());
        for step in &plan.steps {
            let source = given.get(step.name.as_str()).copied();
            let asked = requests.iter().any(|request| request.name == step.name);
            let damaged = asked && self.is_damaged(&set, &step.name);
            if step.change == Change::Keep && source.is_none() && !damaged {
                kept.push((step.name.clone(), step.version.clone()));
                manifests.extend(self.installed_manifest(&set, &step.name));
                continue;
            }
            let (planned, manifest) = self.plan_step(step, source, &pool, &set)?;
            steps.push(planned);
            manifests.push(manifest);
        }
        if let Some(conflict) = conflicts(&manifests).into_iter().next() {
            return Err(from_registry(conflict.into()));
        }
        Ok(InstallPlan { steps, kept })
    }

    /// Everything that can be chosen from: what is given, what is installed, what the indexes have.
    fn pool<'i>(&self, set: &EnabledSet, indexes: &'i [Index], given: &BTreeMap<&str, &Source>) -> Pool<'i> {
        let mut pool = indexes.iter().fold(Pool::new(), Pool::index);
        for enabled in set {
            let requirements = self.installed_manifest(set, &enabled.name).map_or_else(
                || Requirements { needed: enabled.requires.clone(), ..Requirements::default() },
                |manifest| manifest.requirements(),
            );
            pool = pool.offer(&enabled.name, &enabled.version, requirements);
        }
        given.values().filter_map(|source| source.manifest()).fold(pool, Pool::manifest)
    }

    fn installed_manifest(&self, set: &EnabledSet, name: &str) -> Option<Manifest> {
        let store = self.home.store().ok()?;
        store.get(set.get(name)?.sha256).ok().flatten().map(|installed| installed.manifest)
    }

    fn is_damaged(&self, set: &EnabledSet, name: &str) -> bool {
        use kodiak_registry::store::Condition;
        let condition = set.get(name).and_then(|enabled| self.home.store().ok()?.check_quick(enabled.sha256).ok());
        condition != Some(Condition::Ok)
    }

    fn plan_step(
        &self,
        step: &Step,
        source: Option<&Source>,
        pool: &Pool<'_>,
        set: &EnabledSet,
    ) -> Result<(PlannedStep, Manifest)> {
        let before = set.get(&step.name);
        let (manifest, origin, from_library) = match source {
            Some(Source::Crate { folder, manifest }) => {
                (manifest.as_ref().clone(), Origin::Crate(folder.clone()), None)
            }
            Some(Source::Library { file, manifest }) => {
                (manifest.as_ref().clone(), Origin::Library(file.clone()), Some(file.clone()))
            }
            Some(Source::Name { .. }) | None => {
                let release = pool.release(&step.name, &step.version);
                match (release, before.map(|enabled| &enabled.source)) {
                    (Ok((_, release)), _) => match release.location {
                        Location::Crate(folder) => {
                            let file = folder.join(kodiak_registry::manifest::FILE_NAME);
                            (Manifest::read(&file).map_err(from_registry)?, Origin::Crate(folder), None)
                        }
                        Location::Package { file, .. } => {
                            let text = format!(
                                "`{}` is a package; this version installs crates and libraries",
                                file.display()
                            );
                            return Err(Error::new(codes::UNSUPPORTED, text));
                        }
                    },
                    // No index has it, but it was installed from a place that may still be there: a repair.
                    (Err(_), Some(Origin::Crate(folder))) => {
                        let file = folder.join(kodiak_registry::manifest::FILE_NAME);
                        (Manifest::read(&file).map_err(from_registry)?, Origin::Crate(folder.clone()), None)
                    }
                    (Err(_), Some(Origin::Library(file))) => {
                        let inspected = verify::inspect(file).map_err(from_registry)?;
                        (inspected.manifest, Origin::Library(file.clone()), Some(file.clone()))
                    }
                    (Err(error), _) => return Err(from_registry(error)),
                }
            }
        };
        gate::check_abi(&manifest)?;
        let permissions = manifest.permissions.describe();
        let granted = before.map(|enabled| enabled.granted.clone()).unwrap_or_default();
        let planned = PlannedStep {
            name: step.name.clone(),
            version: step.version.clone(),
            from: match &step.change {
                Change::Replace { from } => Some(from.clone()),
                _ => before.map(|enabled| enabled.version.clone()),
            },
            reasons: step.reasons.iter().map(ToString::to_string).filter(|reason| reason != "installed").collect(),
            summary: manifest.extension.summary.clone(),
            claims: manifest.claims().map(|(kind, claim)| format!("{kind} `{claim}`")).collect(),
            new_permissions: manifest.permissions.beyond(&granted),
            permissions,
            origin,
            from_library,
        };
        Ok((planned, manifest))
    }

    /// Carries a plan out. Artifacts that were put into the store when a later one fails stay there unused.
    ///
    /// # Errors
    /// BUILD_FAILED, NOT_A_PLUGIN and what the store says; then the set is as it was.
    pub fn install(&self, plan: &InstallPlan, progress: &dyn Progress) -> Result<Vec<Enabled>> {
        let store = self.home.store()?;
        let mut added = Vec::new();
        for step in &plan.steps {
            let library = match (&step.from_library, &step.origin) {
                (Some(file), _) => file.clone(),
                (None, Origin::Crate(folder)) => {
                    progress.step(&format!("building {} {}", step.name, step.version));
                    build::build(&step.name, folder)?
                }
                (None, other) => {
                    return Err(Error::new(codes::NOT_A_SOURCE, format!("cannot install from {other}")));
                }
            };
            let installed = self.put(&store, &library, step)?;
            progress.step(&format!("installed {} {}", step.name, step.version));
            added.push(Enabled::new(&installed));
        }
        self.update(|set| {
            for enabled in &added {
                set.add(enabled.clone());
            }
            let manifests: Vec<Manifest> =
                set.iter().filter_map(|e| store.get(e.sha256).ok().flatten()).map(|i| i.manifest).collect();
            match conflicts(&manifests).into_iter().next() {
                Some(conflict) => Err(from_registry(conflict.into())),
                None => Ok(()),
            }
        })?;
        Ok(added)
    }

    fn put(&self, store: &kodiak_registry::Store, library: &Path, step: &PlannedStep) -> Result<Installed> {
        let inspected = verify::inspect(library).map_err(from_registry)?;
        let manifest = &inspected.manifest;
        if manifest.name() != step.name || *manifest.version() != step.version {
            let (name, version) = (manifest.name(), manifest.version());
            let text =
                format!("`{}` says it is `{name}` {version}, not `{}` {}", library.display(), step.name, step.version);
            return Err(Error::new(codes::BAD_MANIFEST, text).help("build the crate again"));
        }
        if inspected.entry == verify::Entry::C {
            let text = format!("`{}` uses the C entry, which this host does not call yet", step.name);
            return Err(Error::new(codes::UNSUPPORTED, text));
        }
        store.put(library, manifest, &step.origin).map_err(from_registry)
    }
}

/// A path means exactly the version that lies there; a name means what fits.
fn request(source: &Source) -> Request {
    match source {
        Source::Name { name, requirement } => Request::of(name.clone(), requirement.clone()),
        Source::Crate { manifest, .. } | Source::Library { manifest, .. } => {
            let exactly = VersionReq { comparators: vec![exactly(manifest.version())] };
            Request::newest(manifest.name(), exactly)
        }
    }
}

fn exactly(version: &Version) -> semver::Comparator {
    semver::Comparator {
        op: semver::Op::Exact,
        major: version.major,
        minor: Some(version.minor),
        patch: Some(version.patch),
        pre: version.pre.clone(),
    }
}
