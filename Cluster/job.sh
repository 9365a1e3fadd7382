# Sourced by the job scripts of this folder, in the folder from which the job was submitted: the repository's root.
#
#   CONFIG     the configuration
#   RUN        the run directory, where all hosts see it
#   OPTIONS    further options of `lockstep train`, separated by spaces; may be missing
#   LOCKSTEP   the program, if it is not .build/release/lockstep

if [[ -z ${CONFIG:-} || -z ${RUN:-} ]]; then
  echo "CONFIG and RUN must be set: the configuration and the run directory" >&2
  exit 64
fi

# From here on SIGUSR1 does not end this shell.
stopping=false job=
trap 'stopping=true; if [[ -n $job ]]; then kill -USR1 "$job" 2> /dev/null; fi' USR1

# stop_after TIME: sends SIGUSR1 to this shell after TIME, as `sleep` takes it, unless `train` has ended by then.
timer=
stop_after() {
  (
    exec > /dev/null 2>&1 < /dev/null
    sleep "$1" &
    trap 'kill $!; exit' TERM
    wait $! && kill -USR1 $$
  ) &
  timer=$!
  trap 'kill "$timer" 2> /dev/null' EXIT
}

# train MPIRUN_OPTION...: trains or goes on, and leaves mpirun's exit code in `code`: 75 if the job is to be run once more.
# SIGUSR1 to this shell makes the ranks write a checkpoint and end.
code=0
train() {
  # Consecutive ranks on one host, each bound to a core of its own, unless the environment says otherwise.
  export OMPI_MCA_rmaps_base_mapping_policy=${OMPI_MCA_rmaps_base_mapping_policy:-core}
  export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-core}
  # A rank computes on one thread: a BLAS that starts more would only take cores from other ranks.
  local options=(-x OPENBLAS_NUM_THREADS=1)
  # The same BLAS kernels on all hosts, where processors differ: set it to the oldest kind, such as Haswell.
  if [[ -n ${OPENBLAS_CORETYPE:-} ]]; then options+=(-x OPENBLAS_CORETYPE); fi

  # shellcheck disable=SC2086
  mpirun "$@" "${options[@]}" "${LOCKSTEP:-.build/release/lockstep}" train "$CONFIG" --run-directory "$RUN" --resume ${OPTIONS:-} &
  job=$!
  if $stopping; then kill -USR1 "$job" 2> /dev/null; fi
  # A signal ends `wait`, though not mpirun.
  while wait "$job"; kill -0 "$job" 2> /dev/null; do :; done
  code=0
  wait "$job" || code=$?
  if [[ -n $timer ]]; then kill "$timer" 2> /dev/null; fi
  # A signal that comes before all ranks listen ends mpirun with a code of its own; the job is to be run once more all the same.
  if $stopping; then
    case $code in
      0 | 64 | 65 | 70 | 74) ;;
      *) code=75 ;;
    esac
  fi
}
