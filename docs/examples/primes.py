import sys

# Reads N and prints how many primes lie below it, and the greatest of them.
n = int(sys.stdin.readline())
composite = bytearray(n)
primes = []
for i in range(2, n):
    if not composite[i]:
        primes.append(i)
        for k in range(i * i, n, i):
            composite[k] = 1
print(f"{len(primes)} primes below {n}, the last is {primes[-1]}")
