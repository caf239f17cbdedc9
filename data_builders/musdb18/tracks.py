"""Track names of MUSDB18, and known errors of some tracks."""

import re

_TRAIN = """
A Classic Education - NightOwl
Actions - Devil's Words
Actions - South Of The Water
Aimee Norwich - Child
Alexander Ross - Velvet Curtain
Angela Thomas Wade - Milk Cow Blues
ANiMAL - Clinic A
ANiMAL - Easy Tiger
Atlantis Bound - It Was My Fault For Waiting
Auctioneer - Our Future Faces
AvaLuna - Waterduct
BigTroubles - Phantom
Bill Chudziak - Children Of No-one
Black Bloc - If You Want Success
Celestial Shore - Die For Us
Chris Durban - Celebrate
Clara Berry And Wooldog - Air Traffic
Clara Berry And Wooldog - Stella
Cnoc An Tursa - Bannockburn
Creepoid - OldTree
Dark Ride - Burning Bridges
Dreamers Of The Ghetto - Heavy Love
Drumtracks - Ghost Bitch
Faces On Film - Waiting For Ga
Fergessen - Back From The Start
Fergessen - The Wind
Flags - 54
Giselle - Moss
Grants - PunchDrunk
Helado Negro - Mitad Del Mundo
Hezekiah Jones - Borrowed Heart
Hollow Ground - Left Blind
Hop Along - Sister Cities
Invisible Familiars - Disturbing Wildlife
James May - All Souls Moon
James May - Dont Let Go
James May - If You Say
Jay Menon - Through My Eyes
Johnny Lokke - Whisper To A Scream
Jokers, Jacks & Kings - Sea Of Leaves
Leaf - Come Around
Leaf - Wicked
Lushlife - Toynbee Suite
Matthew Entwistle - Dont You Ever
Meaxic - You Listen
Music Delta - 80s Rock
Music Delta - Beatles
Music Delta - Britpop
Music Delta - Country1
Music Delta - Country2
Music Delta - Disco
Music Delta - Gospel
Music Delta - Grunge
Music Delta - Hendrix
Music Delta - Punk
Music Delta - Reggae
Music Delta - Rock
Music Delta - Rockabilly
Night Panther - Fire
North To Alaska - All The Same
Patrick Talbot - Set Me Free
Phre The Eon - Everybody's Falling Apart
Port St Willow - Stay Even
Remember December - C U Next Time
Secret Mountains - High Horse
Skelpolu - Together Alone
Snowmine - Curfews
Spike Mullings - Mike's Sulking
St Vitus - Word Gets Around
Steven Clark - Bounty
Strand Of Oaks - Spacestation
Sweet Lights - You Let Me Down
Swinging Steaks - Lost My Way
The Districts - Vermont
The Long Wait - Back Home To Blue
The Scarlet Brand - Les Fleurs Du Mal
The So So Glos - Emergency
The Wrong'Uns - Rothko
Tim Taler - Stalker
Titanium - Haunted Age
Traffic Experiment - Once More (With Feeling)
Triviul - Dorothy
Voelund - Comfort Lives In Belief
Wall Of Death - Femme
Young Griffo - Blood To Bone
Young Griffo - Facade
"""
#: Those of the 100 training tracks that are used for validation by convention.
_VALIDATION = """
Actions - One Minute Smile
Alexander Ross - Goodbye Bolero
ANiMAL - Rockshow
Clara Berry And Wooldog - Waltz For My Victims
Fergessen - Nos Palpitants
James May - On The Line
Johnny Lokke - Promises & Lies
Leaf - Summerghost
Meaxic - Take A Step
Patrick Talbot - A Reason To Leave
Skelpolu - Human Mistakes
Traffic Experiment - Sirens
Triviul - Angelsaint
Young Griffo - Pennies
"""
_TEST = """
Al James - Schoolboy Facination
AM Contra - Heart Peripheral
Angels In Amplifiers - I'm Alright
Arise - Run Run Run
Ben Carrigan - We'll Talk About It All Tonight
BKS - Bulldozer
BKS - Too Much
Bobby Nobody - Stitch Up
Buitraker - Revo X
Carlos Gonzalez - A Place For Us
Cristina Vane - So Easy
Detsky Sad - Walkie Talkie
Enda Reilly - Cur An Long Ag Seol
Forkupines - Semantics
Georgia Wonder - Siren
Girls Under Glass - We Feel Alright
Hollow Ground - Ill Fate
James Elder & Mark M Thompson - The English Actor
Juliet's Rescue - Heartbeats
Little Chicago's Finest - My Own
Louis Cressy Band - Good Time
Lyndsey Ollard - Catching Up
M.E.R.C. Music - Knockout
Moosmusic - Big Dummy Shake
Motor Tapes - Shore
Mu - Too Bright
Nerve 9 - Pray For The Rain
PR - Happy Daze
PR - Oh No
Punkdisco - Oral Hygiene
Raft Monk - Tiring
Sambasevam Shanmugam - Kaathaadi
Secretariat - Borderline
Secretariat - Over The Top
Side Effects Project - Sing With Me
Signe Jakobsen - What Have You Done To Me
Skelpolu - Resurrection
Speak Softly - Broken Man
Speak Softly - Like Horses
The Doppler Shift - Atrophy
The Easton Ellises (Baumi) - SDRNR
The Easton Ellises - Falcon 69
The Long Wait - Dark Horses
The Mountaineering Club - Mallory
The Sunshine Garcia Band - For I Am The Moon
Timboz - Pony
Tom McKenzie - Directions
Triviul feat. The Fiend - Widow
We Fell From The Sky - Not You
Zeno - Signs
"""
#: From the list of errors on the dataset's web page, https://sigsep.github.io/datasets/musdb.html.
_ERRATA = {
    "Al James - Schoolboy Facination": "synthetic vocals in other",
    "BKS - Bulldozer": "a cowbell in other from 1:12",
    "Chris Durban - Celebrate": "other instruments bleed into vocals",
    "Detsky Sad - Walkie Talkie": "other is mixed into drums",
    "Enda Reilly - Cur An Long Ag Seol": "speech at the start of other",
    "Hop Along - Sister Cities": "other instruments bleed into vocals",
    "Leaf - Wicked": "electric guitar in drums at 2:20 and 3:02",
    "PR - Oh No": "the left channel of the mixture is not the sum of the stems",
}


def _letters(name: str) -> str:
    """Return the letters and digits of a name, which survive in every file system."""
    return re.sub(r"[\W_]+", "", name.casefold())


#: Track names of the official splits.
OFFICIAL = {
    "train": tuple(_TRAIN.strip().splitlines()),
    "validation": tuple(_VALIDATION.strip().splitlines()),
    "test": tuple(_TEST.strip().splitlines()),
}
_SPLITS = {_letters(name): split for split, names in OFFICIAL.items() for name in names}
_ERRATA_BY_LETTERS = {_letters(name): text for name, text in _ERRATA.items()}


def official_split(track: str) -> str | None:
    """Return train, validation or test; None for a track that is not in MUSDB18."""
    return _SPLITS.get(_letters(track))


def errata(track: str) -> str:
    """Return the known errors of a track; empty if there are none."""
    return _ERRATA_BY_LETTERS.get(_letters(track), "")
