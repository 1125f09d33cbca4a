# Reads N and prints how many primes lie below it, and the greatest of them.
n = gets.to_i
composite = Array.new(n, false)
primes = (2...n).reject do |i|
  (i * i).step(n - 1, i) { |k| composite[k] = true } unless composite[i]
  composite[i]
end
puts "#{primes.size} primes below #{n}, the last is #{primes.last}"
