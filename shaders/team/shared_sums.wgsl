// Sums of every invocation, in workgroup memory.
var<workgroup> sharedDz: array<Channel, WORKGROUP_SIZE>;
var<workgroup> sharedDzXHat: array<Channel, WORKGROUP_SIZE>;

fn sharedSums(at: u32) -> Sums { return Sums(sharedDz[at], sharedDzXHat[at]); }

fn shareSums(at: u32, sums: Sums) {
  sharedDz[at] = sums.dz;
  sharedDzXHat[at] = sums.dzXHat;
}

fn addSums(a: Sums, b: Sums) -> Sums { return Sums(a.dz + b.dz, a.dzXHat + b.dzXHat); }
