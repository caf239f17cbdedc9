"""Names of instrument classes and stems."""

#: The 11 IRMAS classes in alphabetical order, with their full names.
IRMAS_NAMES = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
IRMAS = tuple(IRMAS_NAMES)

#: The five IRMAS classes used by Goel.
GOEL = ("gel", "pia", "sax", "vio", "voi")

#: The 13 instruments in Seipel's orchestral recordings.
ORCHESTRA = (
    "bassoon",
    "clarinet",
    "double_bass",
    "flute",
    "french_horn",
    "oboe",
    "piano",
    "trombone",
    "trumpet",
    "tuba",
    "viola",
    "violin",
    "violoncello",
)

#: The four stems of MUSDB18, and its streams: the mixture followed by the stems.
STEMS = ("drums", "bass", "other", "vocals")
STREAMS = ("mixture", *STEMS)
