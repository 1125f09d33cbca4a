import { readFileSync } from "node:fs";

interface Sieve {
  count: number;
  last: number;
}

function sieve(n: number): Sieve {
  const composite = new Uint8Array(n);
  const found: Sieve = { count: 0, last: 0 };
  for (let i = 2; i < n; i++) {
    if (composite[i]) continue;
    found.count++;
    found.last = i;
    for (let k = i * i; k < n; k += i) composite[k] = 1;
  }
  return found;
}

// Reads N and prints how many primes lie below it, and the greatest of them.
const n: number = parseInt(readFileSync(0, "utf8"), 10);
const { count, last } = sieve(n);
console.log(`${count} primes below ${n}, the last is ${last}`);
