import java.util.BitSet;
import java.util.Scanner;

/** Reads N and prints how many primes lie below it, and the greatest of them. */
public class Primes {
    public static void main(String[] args) {
        int n = new Scanner(System.in).nextInt();
        BitSet composite = new BitSet(n);
        int count = 0;
        int last = 0;
        for (int i = 2; i < n; i++) {
            if (composite.get(i)) {
                continue;
            }
            count++;
            last = i;
            for (long k = (long) i * i; k < n; k += i) {
                composite.set((int) k);
            }
        }
        System.out.println(count + " primes below " + n + ", the last is " + last);
    }
}
