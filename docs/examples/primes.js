// Reads N and prints how many primes lie below it, and the greatest of them.
const n = parseInt(require("fs").readFileSync(0, "utf8"), 10);
const composite = new Uint8Array(n);
const primes = [];
for (let i = 2; i < n; i++) {
  if (composite[i]) continue;
  primes.push(i);
  for (let k = i * i; k < n; k += i) composite[k] = 1;
}
console.log(`${primes.length} primes below ${n}, the last is ${primes.at(-1)}`);
