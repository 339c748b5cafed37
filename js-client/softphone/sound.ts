/**
 * What a person hears and sees of sound: level meters of a stream, and playing the far side in spite of autoplay rules.
 */

/** Quietest level that moves a meter, in dB below full scale. */
const FLOOR_DB = -55;
/** How fast a meter falls, in shares of its width each time it is drawn; it rises at once. */
const FALL = 0.12;

/** Shows the level of one stream at a time in one element. */
export class Meter {
  readonly #bar: HTMLElement;
  #analyser: AnalyserNode | undefined;
  #source: MediaStreamAudioSourceNode | undefined;
  #track: MediaStreamTrack | undefined;
  #shown = 0;

  constructor(readonly element: HTMLElement) {
    this.#bar = element.querySelector("i") ?? element;
  }

  /** Listens to `track`; `undefined` stops. Asking again for the same one does nothing. */
  listen(context: AudioContext | undefined, track: MediaStreamTrack | undefined): void {
    if (track === this.#track) {
      return;
    }
    this.#source?.disconnect();
    this.#source = this.#analyser = undefined;
    this.#track = track;
    if (context && track) {
      this.#analyser = new AnalyserNode(context, { fftSize: 1024 });
      this.#source = context.createMediaStreamSource(new MediaStream([track]));
      this.#source.connect(this.#analyser);
    }
  }

  /** Something is heard. */
  get moves(): boolean {
    return this.#shown > 0.1;
  }

  /** Draws the level of this moment; to be called some times a second. */
  draw(): void {
    const shown = Math.max(this.#analyser ? level(this.#analyser) : 0, this.#shown - FALL, 0);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#bar.style.transform = `scaleX(${shown.toFixed(3)})`;
      this.element.setAttribute("aria-valuenow", String(Math.round(shown * 10) * 10));
    }
  }
}

function level(analyser: AnalyserNode): number {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  const rms = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  return Math.min(1, Math.max(0, 1 - (20 * Math.log10(rms + 1e-6)) / FLOOR_DB));
}

/** Plays what a call brings in the page's elements; says whether the browser blocked the sound. */
export class Player {
  constructor(
    private readonly audio: HTMLMediaElement,
    private readonly video: HTMLMediaElement,
    private readonly own: HTMLMediaElement,
    private readonly blocked: (blocked: boolean) => void,
  ) {}

  /** The far side; its video element is muted, sound comes from the audio element alone. */
  play(stream: MediaStream): void {
    if (this.audio.srcObject !== stream) {
      this.audio.srcObject = stream;
      this.video.srcObject = stream;
    }
    void this.video.play().catch(() => {});
    this.unblock();
  }

  /** Tries again, in answer to a click. */
  unblock(): void {
    this.audio.play().then(
      () => this.blocked(false),
      (error: unknown) => this.blocked(error instanceof DOMException && error.name === "NotAllowedError"),
    );
  }

  /** The own camera. */
  showOwn(track: MediaStreamTrack | undefined): void {
    const shown = this.own.srcObject instanceof MediaStream ? this.own.srcObject.getVideoTracks()[0] : undefined;
    if (track !== shown) {
      this.own.srcObject = track ? new MediaStream([track]) : null;
      void this.own.play().catch(() => {});
    }
  }

  /** Lets go of everything. */
  stop(): void {
    for (const element of [this.audio, this.video, this.own]) {
      element.srcObject = null;
    }
  }
}
