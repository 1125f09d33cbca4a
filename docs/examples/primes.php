<?php
// Reads N and prints how many primes lie below it, and the greatest of them.
$n = (int) fgets(STDIN);
$composite = array_fill(0, $n, false);
$count = 0;
$last = 0;
for ($i = 2; $i < $n; $i++) {
    if ($composite[$i]) {
        continue;
    }
    $count++;
    $last = $i;
    for ($k = $i * $i; $k < $n; $k += $i) {
        $composite[$k] = true;
    }
}
echo "$count primes below $n, the last is $last\n";
