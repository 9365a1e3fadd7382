# shellcheck shell=bash
# Sourced by the job scripts of this folder, in the folder from which the job was submitted: the repository's root.
#
#   CONFIG     the configuration
#   RUN        the run directory, where all hosts see it
#   THREADS    threads of a rank, if it is to have more than one
#   OPTIONS    further options of `lockstep train`, separated by spaces; may be missing
#   LOCKSTEP   the program, if it is neither .build/release/lockstep nor bin/lockstep
#   LAUNCHER   in Slurm: srun starts the ranks (srun --mpi=pmix), in place of mpirun

if [[ -z ${CONFIG:-} || -z ${RUN:-} ]]; then
  echo "CONFIG and RUN must be set: the configuration and the run directory" >&2
  exit 64
fi
program=${LOCKSTEP:-}
if [[ -z $program ]]; then
  # What a build makes, or the folder of an archive of Scripts/package.
  program=.build/release/lockstep
  if [[ ! -e $program && -e bin/lockstep ]]; then program=bin/lockstep; fi
fi
threads=${THREADS:-1}
if [[ ! $threads =~ ^[1-9][0-9]{0,3}$ ]]; then
  echo "THREADS is '$threads', which is not a number of threads" >&2
  exit 64
fi

# From here on SIGUSR1 does not end this shell.
stopping=false job='' sender='' timer='' session=''
trap stop USR1
trap 'end "$timer"; end "$sender"; if [[ -n $session ]]; then rmdir "$session" 2> /dev/null; fi' EXIT

end() { if [[ -n $1 ]]; then kill "$1" 2> /dev/null; fi; }

# Sends SIGUSR1 to mpirun until it ends: mpirun loses one that comes while it begins, and one more does no harm.
stop() {
  stopping=true
  if [[ -z $job || -n $sender ]]; then return; fi
  (
    trap '' USR1
    while kill -USR1 "$job"; do sleep 2; done
  ) > /dev/null 2>&1 < /dev/null &
  sender=$!
}

# stop_after TIME: sends SIGUSR1 to this shell after TIME, as `sleep` takes it, unless `train` has ended by then.
stop_after() {
  (
    sleep "$1" &
    trap 'kill $!; exit' TERM
    wait $! && kill -USR1 $$
  ) > /dev/null 2>&1 < /dev/null &
  timer=$!
}

# train MPIRUN_OPTION...: trains or goes on, and leaves mpirun's exit code in `code`: 75 if the job is to be run once more.
# SIGUSR1 to this shell makes the ranks write a checkpoint and end.
code=0
train() {
  # Consecutive ranks on one host, unless the environment says otherwise. Each is bound to as many cores as it has threads only where the scheduler has
  # given this job cores of its own: elsewhere Open MPI would bind the ranks of several jobs to the same ones, from the first on.
  local mapping=core binding=none options=(-x OPENBLAS_NUM_THREADS=1) further=()
  if (( $(nproc) < $(nproc --all) )); then binding=core; fi
  read -r -a further <<< "${OPTIONS:-}"
  if (( threads > 1 )); then
    mapping=slot:PE=$threads
    further+=(--threads "$threads")
  fi
  export OMPI_MCA_rmaps_base_mapping_policy=${OMPI_MCA_rmaps_base_mapping_policy:-$mapping}
  export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-$binding}
  # Which kernels all hosts use. Products by BLAS need the same where processors differ: the oldest kind, such as Haswell.
  for name in OPENBLAS_CORETYPE LOCKSTEP_KERNELS; do
    if [[ -n ${!name:-} ]]; then options+=(-x "$name"); fi
  done

  # Several mpiruns of a user would make and remove the same temporary folder.
  session=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-job.XXXXXX") || session=''
  local launcher=(mpirun "$@" "${options[@]}")
  if [[ ${LAUNCHER:-mpirun} == srun ]]; then
    # srun hands on the environment, binds as Slurm is told to, and passes SIGUSR1 on to the ranks.
    export OPENBLAS_NUM_THREADS=1
    launcher=(srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$threads")
  fi
  TMPDIR=${session:-${TMPDIR:-/tmp}} "${launcher[@]}" "$program" train "$CONFIG" --run-directory "$RUN" --resume "${further[@]}" &
  job=$!
  if $stopping; then stop; fi
  # A signal ends `wait`, though not mpirun.
  while wait "$job"; kill -0 "$job" 2> /dev/null; do :; done
  code=0
  wait "$job" || code=$?
  # A signal that comes before all ranks listen ends mpirun with a code of its own; the job is to be run once more all the same.
  if $stopping; then
    case $code in
      0 | 64 | 65 | 70 | 74) ;;
      *) code=75 ;;
    esac
  fi
}
