package prune

import "fmt"

// ForUnits is the importance that ranks channels by the scores of a method: per unit,
// the sum of the scores of all its elements, as [Saliency.Prune] would rank them one by one.
func (m Method) ForUnits(u *Units, s *Saliency) (Importance, error) {
	if m.Importance != "" {
		return FindImportance(m.Importance)
	}
	s.Masks, s.Structure = u.Masks, u.Structure
	elements, err := m.Score(s)
	if err != nil {
		return Importance{}, err
	}
	scores := make([][]float64, len(u.Groups.Groups))
	for g := range scores {
		grp := &u.Groups.Groups[g]
		scores[g] = make([]float64, grp.Width)
		for i := range grp.Members {
			member := &grp.Members[i]
			at, ok := u.layerOf[member.Value.Name]
			if !ok || !member.Weight {
				continue
			}
			mask := u.Masks.Layers[at].Mask
			for unit := range scores[g] {
				for lo, hi := range member.Elements(unit) {
					for k := lo; k < hi; k++ {
						if mask[k] != 0 {
							scores[g][unit] += float64(elements[at][k])
						}
					}
				}
			}
		}
	}
	return Importance{Name: m.Name, Score: func(*Scoring) ([][]float64, string) { return scores, "" }}, nil
}

// CheckUnits returns an error for a method that has no form for channels.
func (m Method) CheckUnits() error {
	if m.Score == nil && m.Masked == nil && !m.Rounds {
		return fmt.Errorf("--method %s is for single weights, patterns and blocks", m.Name)
	}
	return nil
}
