//! How long the vault takes: opening a secret, listing them, unlocking.

use criterion::{Criterion, criterion_group, criterion_main};
use kodiak_secrets::bench::Bench;
use std::hint::black_box;

fn open_vault(secrets: usize) -> Bench {
    Bench::new(secrets).unwrap_or_else(|error| panic!("the vault cannot be made: {error}"))
}

fn opening(criterion: &mut Criterion) {
    let vault = open_vault(10_000);
    let mut number = 0;
    criterion.bench_function("open one of 10,000 secrets", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % 10_000;
            black_box(vault.open(number).is_ok())
        });
    });
    criterion.bench_function("list 10,000 secrets", |bencher| bencher.iter(|| black_box(vault.list().is_ok())));
    criterion.bench_function("find one of 10,000 by its scope", |bencher| {
        bencher.iter(|| black_box(vault.which("s3://bucket-9999/x").is_ok()));
    });
}

fn unlocking(criterion: &mut Criterion) {
    let vault = open_vault(10_000);
    let mut group = criterion.benchmark_group("unlock");
    group.sample_size(10);
    group.bench_function("Argon2id alone", |bencher| bencher.iter(|| black_box(vault.stretch().is_ok())));
    group.bench_function("with 10,000 secrets", |bencher| bencher.iter(|| black_box(vault.unlock().is_ok())));
    group.finish();
}

criterion_group!(benches, opening, unlocking);
criterion_main!(benches);
