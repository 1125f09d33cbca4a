use std::io::stdin;

/// Reads N and prints how many primes lie below it, and the greatest of them.
fn main() {
    let mut line = String::new();
    stdin().read_line(&mut line).expect("a line on standard input");
    let n: usize = line.trim().parse().expect("a number");
    let mut composite = vec![false; n];
    let mut primes = Vec::new();
    for i in 2..n {
        if composite[i] {
            continue;
        }
        primes.push(i);
        for k in (i * i..n).step_by(i) {
            composite[k] = true;
        }
    }
    println!("{} primes below {}, the last is {}", primes.len(), n, primes[primes.len() - 1]);
}
